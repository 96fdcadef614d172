"""What a command answers: the right thing, or one sentence, in time."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

from aecompress.errors import CONTROL
from tests.commands import Done, aecompress

SPEC = "digits --hidden 8 --latent 3 --epochs 6 --set checkpoint_every=2 --variants packed,sparse --quiet"
RUN = tuple(SPEC.split())
SECONDS = 60
"""A command that takes longer waits for something, such as a pipe."""
LONGEST = 1000
"""Characters of a message."""


def tensors(run: Path) -> dict[str, bytes]:
    """Return the bytes of a run's models."""
    files = [*(run / "model").rglob("*"), *(run / "front").rglob("*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.suffix in (".onnx", ".safetensors")}


def answer(folder: Path, *words: str) -> tuple[Done, str]:
    """Return what a command in ``folder`` left, and what was wrong with that; empty where nothing was."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        done = aecompress(*words, cwd=folder)
    except Exception as fault:
        return Done(-1, "", ""), f"{' '.join(words)[:200]!r}: {type(fault).__name__}: {str(fault)[:200]!r}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    raw = CONTROL.search(done.stdout + done.stderr) and "raw control characters"
    long = max(map(len, done.stderr.splitlines()), default=0) > LONGEST and "a long message"
    code = done.returncode not in (0, 1, 2, 3) and f"exit {done.returncode}"
    wrong = [word for word in (raw, long, code) if word]
    return done, f"{' '.join(words)[:200]!r}: {', '.join(wrong)}" if wrong else ""
