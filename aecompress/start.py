"""The first and the last moments of the program, when a signal finds no run to stop."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

COLLECT_AFTER = 50_000
"""New objects after which the garbage collector looks at them: importing makes many and drops none."""
STOPPING = (signal.SIGINT, signal.SIGTERM)


def end_at_once(received: int, frame: FrameType | None) -> None:
    """Report the signal in one line and end: nothing has been written yet."""
    with contextlib.suppress(OSError):  # it may have no reader
        os.write(2, f"aecompress: stopped by {signal.Signals(received).name}\n".encode())
    os._exit(128 + received)


class Leaving:
    """The end of the process: at once, when all that was registered for its end is done.

    To take the libraries apart takes the interpreter seconds on a busy machine, after the last line was printed.
    """

    status = 1
    """The exit code; 1 after an error that was not caught."""

    def run(self, command: Callable[[], None]) -> None:
        """Run the command line and keep its exit code."""
        try:
            command()
        except SystemExit as fault:
            self.status = fault.code if isinstance(fault.code, int) else int(fault.code is not None)
            if getattr(fault.__cause__, "at_once", False):  # of errors.Interrupted
                self.leave()
            raise
        self.status = 0

    def leave(self) -> None:
        """Write what is left in the streams, and end; a signal now changes nothing."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):  # a full disk, or closed
                self.status = self.status or 1
        os._exit(self.status)


def main() -> None:
    """Run the command line; the ``aecompress`` script calls it."""
    for number in STOPPING:
        signal.signal(number, end_at_once)
    gc.set_threshold(COLLECT_AFTER)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would read what is installed to look for some
    if sys.getfilesystemencoding() == "ascii":  # the names of files are UTF-8 all the same, as in what is written
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    leaving = Leaving()
    atexit.register(leaving.leave)  # registered first, it is called last; threads have been waited for by then
    from aecompress.cli.main import main as command

    leaving.run(command)
