"""The first and the last moments of the program, when a signal finds no run to stop."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


def end_at_once(received: int, frame: FrameType | None) -> None:
    """Report the signal in one line and end: nothing has been written yet."""
    with contextlib.suppress(OSError):  # it may have no reader
        os.write(2, f"aecompress: stopped by {signal.Signals(received).name}\n".encode())
    os._exit(128 + received)


def ignore() -> None:
    """Ignore signals: all is done, and the interpreter, which drops its handlers before it ends, would be killed."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the command line; the ``aecompress`` script calls it."""
    for number in STOPPING:
        signal.signal(number, end_at_once)
    if sys.getfilesystemencoding() == "ascii":  # the names of files are UTF-8 all the same, as in what is written
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    atexit.register(ignore)  # threads have been waited for by then, under handlers that still end the program
    from aecompress.cli.main import main as run

    run()
