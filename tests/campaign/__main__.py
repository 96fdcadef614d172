"""A campaign of killed runs, damaged files and odd input: `python -m tests.campaign [--seed N] [--cases N] [KIND...]`.

Each has a fresh seed, which it prints, so that a fault can be had again. It exits with 1 where anything is not as it
should be: a traceback, a raw control character, a damaged file taken as sound, a resumed run with other bytes.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aecompress.children import command_line
from aecompress.errors import CONTROL
from tests.commands import aecompress

RUN = ("digits", "--hidden", "8", "--latent", "3", "--epochs", "6", "--set", "checkpoint_every=2", "--quiet")
ODD = ("\x1b]0;x\x07", "\u202e", "\x9b31m", "[/red]", "\x00", "é", "-", "9" * 30, "nan", ",,", "[" * 3000, "\n", "'")
Case = Callable[[random.Random, Path, Path], str]
"""Given the draws, a sound run and an empty folder; returns what was wrong, empty where nothing was."""


def tensors(run: Path) -> dict[str, bytes]:
    """The bytes of a run's models."""
    files = [*(run / "model").rglob("*"), *(run / "front").rglob("*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.suffix in (".onnx", ".safetensors")}


def answer(folder: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command and what was wrong with its answer."""
    try:
        done = aecompress(*words, cwd=folder)
    except Exception as fault:
        return -1, f"{' '.join(words)[:200]!r}: {type(fault).__name__}: {str(fault)[:200]!r}"
    raw = CONTROL.search(done.stdout + done.stderr) and "raw control characters"
    long = max(map(len, done.stderr.splitlines()), default=0) > 1100 and "a long message"
    silent = done.returncode not in (0, 1, 2, 3) and f"exit {done.returncode}"
    wrong = [word for word in (raw, long, silent) if word]
    return done.returncode, f"{' '.join(words)[:200]!r}: {', '.join(wrong)}" if wrong else ""


def kill(draw: random.Random, good: Path, folder: Path) -> str:
    """Kill a run at any moment; resumed, or begun again, it has the bytes of one that was not."""
    child = subprocess.Popen(command_line("prune", *RUN, "-o", "run"), cwd=folder, stdout=subprocess.DEVNULL)
    time.sleep(draw.uniform(0.5, 5))
    child.kill()
    child.wait()
    resume = (
        ("--resume", "run", "--quiet") if (folder / "run" / "run.json").exists() else (*RUN, "-o", "run", "--force")
    )
    code, wrong = answer(folder, "prune", *resume)
    return wrong or (
        "" if code == 0 and tensors(folder / "run") == tensors(good) else f"kill: exit {code}, other bytes"
    )


def damage(draw: random.Random, good: Path, folder: Path) -> str:
    """Flip a bit of a model; no reader takes it as sound."""
    run = folder / "run"
    shutil.copytree(good, run)
    path = draw.choice(sorted([run / "model" / "model.safetensors", *(run / "model").glob("*.onnx")]))
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    reader = ("inspect", "run") if path.suffix == ".safetensors" else ("verify", str(path), "run")
    code, wrong = answer(folder, *reader)
    return wrong or ("" if code else f"damage: {reader[0]} takes a damaged {path.name} as sound")


def fuzz(draw: random.Random, good: Path, folder: Path) -> str:
    """Give odd files, flags and names."""
    text = ",".join(draw.choice((*ODD, "1", "0.5", "a")) for _ in range(draw.randrange(1, 12)))
    name = "".join(draw.choice(ODD[:4]) for _ in range(2)).replace("/", "")
    file = folder / f"{name}{draw.choice(('.csv', '.npy', '.npz', '.toml', '.csv.gz'))}"
    file.write_text(f"{text}\n{text}\n", encoding="utf-8")
    words = draw.choice(
        (("data", file.name), ("spec", "--spec", file.name), ("spec", "--set", f"data.source={text[:500]}"),
         ("inspect", file.name), ("verify", file.name, str(good)), ("bench", file.name), ("sweep", file.name))
    )  # fmt: skip
    return answer(folder, *words)[1]


def escapes(draw: random.Random, good: Path, folder: Path) -> str:
    """Name a run like an escape sequence; every command shows the name and does not send it."""
    name = f"run{draw.choice(ODD[:4]).replace('/', '')}"
    shutil.copytree(good, folder / name)
    found = [answer(folder, *words) for words in (("inspect", name), ("front", name), ("prune", "--resume", name))]
    return next((wrong or "escapes: a sound run is refused" for code, wrong in found if wrong or code), "")


CASES: dict[str, tuple[Case, float]] = {
    "fuzz": (fuzz, 1),
    "damage": (damage, 0.5),
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
    print(f"campaign: seed {given.seed}, {given.cases} cases", flush=True)
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        code, fault = answer(Path(place), "prune", *RUN, "-o", "good")
        if code:
            wrong.append(fault or f"the run itself ended with {code}")
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
