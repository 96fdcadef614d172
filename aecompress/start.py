"""The first moments of the program: a signal ends it in one line, with its exit code, while imports still take time."""

from __future__ import annotations

import os
import signal
from types import FrameType


def end_at_once(received: int, frame: FrameType | None) -> None:
    """Report the signal in one line and end: nothing has been written yet."""
    os.write(2, f"aecompress: stopped by {signal.Signals(received).name}\n".encode())
    os._exit(128 + received)


def main() -> None:
    """Entry point of the ``aecompress`` script."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_at_once)
    from aecompress.cli.main import main as run

    run()
