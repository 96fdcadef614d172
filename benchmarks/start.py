"""What comes out of a command first, and when: medians of nine against their limits, wall time and processor time.

    python benchmarks/start.py [--repeats 9] [--command aecompress]

The command is the installed script beside this Python. Where its first line is the answer, the time ends with the
process; ``prune`` is ended once it has printed what it reads. Every answer is checked. Exit code 1: a limit was missed.
The machine must be idle: beside a busy process all times double.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """A command, what its output begins with or holds, and the seconds that it may take."""

    arguments: str
    expected: str
    limit: float
    exit_code: int = 0
    first_line: bool = False
    """Whether the time ends with the first line of stderr."""


CASES = (
    Case("--version", "aecompress", 0.5),
    Case("--help", "Usage", 0.5),
    Case("spec", "hidden = ", 0.5),
    Case("data digits", "digits", 0.5),
    Case("data rows.npy", "fingerprint", 0.5),
    Case("data rows.csv", "fingerprint", 0.5),
    Case("data rosw.csv", "no such file", 0.5, exit_code=2),
    Case("prune rosw.csv", "no such file", 0.5, exit_code=2),
    Case("prune rows.xlsx", "not a data source", 0.5, exit_code=2),
    Case("prune rows.csv", "reading rows.csv", 0.3, first_line=True),
    Case("prune digits", "reading digits", 0.3, first_line=True),
)
IMPORT = Case("import aecompress", "", 0.05)
"""In a Python that runs already."""


def timed(case: Case, command: str, folder: Path) -> tuple[float, float]:
    """Run a command once; return its wall seconds and its processor seconds (NaN where it is ended early)."""
    before, start = os.times(), time.perf_counter()
    with subprocess.Popen(
        [command, *case.arguments.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        if case.first_line:
            assert process.stderr is not None
            text = process.stderr.readline()
            wall = time.perf_counter() - start
            process.kill()
            process.communicate()
        else:
            text = "".join(process.communicate())
            wall = time.perf_counter() - start
            assert process.returncode == case.exit_code, text
    assert case.expected in text, text
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, float("nan") if case.first_line else used


def timed_import(folder: Path) -> tuple[float, float]:
    """Import the package in a new Python; return the seconds of the import alone, wall and processor."""
    script = (
        "import time; a, b = time.perf_counter(), time.process_time(); import aecompress; "
        "print(time.perf_counter() - a, time.process_time() - b)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=folder)
    wall, used = map(float, done.stdout.split())
    return wall, used


def show(name: str, limit: float, times: list[tuple[float, float]]) -> bool:
    """Print a case's medians; return whether it kept its limit."""
    wall, used = (statistics.median(each) for each in zip(*times, strict=True))
    print(f"{name:<20} {wall:6.3f} {used:6.3f} {limit:6.2f}  {'' if wall <= limit else 'MISSED'}".rstrip(), flush=True)
    return wall <= limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--command", default=str(Path(sys.executable).with_name("aecompress")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
        np.save(folder / "rows.npy", rows)
        np.savetxt(folder / "rows.csv", rows, delimiter=",", header="a,b,c,d,e,f", comments="", fmt="%.6g")
        print(f"load {os.getloadavg()[0]:.2f}; seconds: wall, processor, limit of wall")
        runs: list[tuple[Case, Callable[[], tuple[float, float]]]] = [
            *((case, lambda case=case: timed(case, options.command, folder)) for case in CASES),
            (IMPORT, lambda: timed_import(folder)),
        ]
        kept = [show(case.arguments, case.limit, [run() for _ in range(options.repeats)]) for case, run in runs]
        print(f"load {os.getloadavg()[0]:.2f}")
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
