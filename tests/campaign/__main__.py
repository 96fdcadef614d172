"""A campaign of killed runs, damaged files and odd input: `python -m tests.campaign [--seed N] [--cases N] [KIND...]`.

Each has a fresh seed, which it prints, so that a fault can be had again. It exits with 1 where anything is not as it
should be: a traceback, no answer in time, a raw control character, a damaged file taken as sound, a resumed run with
other bytes.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.campaign.answers import RUN, answer
from tests.campaign.damage import damage, kill, stopped
from tests.campaign.fuzz import escapes, graphs, sweeps, texts, values

Case = Callable[[random.Random, Path, Path], str]
"""Given the draws, a sound run and an empty folder; returns what was wrong, empty where nothing was."""
CASES: dict[str, tuple[Case, float]] = {
    "texts": (texts, 1),
    "values": (values, 0.4),
    "sweeps": (sweeps, 0.1),
    "graphs": (graphs, 0.5),
    "damage": (damage, 0.4),
    "stopped": (stopped, 0.05),
    "escapes": (escapes, 0.05),
    "kill": (kill, 0.05),
}
"""The kinds of cases, each with its share of the number asked for."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("kinds", nargs="*", help="default: all")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of libraries, about what is odd
    print(f"campaign: seed {given.seed}, {given.cases} cases", flush=True)
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        done, fault = answer(Path(place), "prune", *RUN, "-o", "good")
        if done.returncode:
            wrong.append(fault or f"the run itself ended with {done.returncode}: {done.stderr}")
        for kind in given.kinds or CASES:
            case, share = CASES[kind]
            begun, count = time.monotonic(), max(1, round(given.cases * share))
            for number in range(count):
                folder = Path(tempfile.mkdtemp(dir=place))
                found = case(random.Random(f"{given.seed} {kind} {number}"), Path(place) / "good", folder)
                wrong += [f"{kind} {number}: {found}"] if found else []
                shutil.rmtree(folder)
            print(f"{kind}: {count} cases in {time.monotonic() - begun:.1f} s", flush=True)
    print("\n".join(wrong) or "all as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
