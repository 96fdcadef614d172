"""The end of Ray's processes when the sweep that started them was killed: some of Ray's own outlive it by a minute."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aecompress.children import isolated
from aecompress.errors import Interrupted

PROC = Path("/proc")


@contextlib.contextmanager
def guarded(session: str) -> Iterator[None]:
    """Have the processes killed that hold files in the folder ``session`` open when this one ends, however it ends.

    A process of its own waits for that, or for the end of what is guarded; after a stop it is this process's end, which
    follows. Where there is no ``/proc`` to find them in, nothing is done.
    """
    if not PROC.is_dir():
        yield
        return
    command = isolated(f"from {__name__} import main; main()", session, str(os.getpid()))
    # Its standard input ends when this process does: no other process inherits the writing end.
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    stopped = False
    try:
        yield
    except Interrupted:
        stopped = True
        raise
    finally:
        if not stopped:
            guard.communicate()


def main() -> None:
    """Wait for the end of standard input, then kill every process, but one, with a file open in a folder.

    The folder and the process that is spared, which started this one, are the arguments.
    """
    sys.stdin.buffer.read()
    while found := [number for number in holders(Path(sys.argv[1])) if number != int(sys.argv[2])]:
        for number in found:
            with contextlib.suppress(OSError):  # it has just ended
                os.kill(number, signal.SIGKILL)
        time.sleep(0.05)


def holders(folder: Path) -> list[int]:
    """Return the processes that hold a file below ``folder`` open.

    Neither the command line nor the environment shows what Ray started: its agents write their title over both.
    """
    found = []
    for place in PROC.iterdir():
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if place.name.isdecimal() and any(
                link.readlink().is_relative_to(folder) for link in (place / "fd").iterdir()
            ):
                found.append(int(place.name))
    return found
