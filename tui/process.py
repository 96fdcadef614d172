"""Starting a run as a process of its own, which continues when the terminal UI is closed."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from aecompress.children import command_line
from aecompress.errors import DataError, printable
from aecompress.steering import status_of


@dataclass(frozen=True)
class Child:
    """A started run: its process, its folder, and the file that takes its stderr."""

    process: subprocess.Popen[bytes]
    folder: Path
    errors: Path

    def began(self) -> bool:
        """Return whether it writes its log, or has done so."""
        if self.process.poll() == 0:
            return True
        try:
            return status_of(self.folder) == "running"
        except DataError:
            return False

    def fault(self) -> str | None:
        """Return its error message when it ended badly; None while it lives, or when it ended well."""
        code = self.process.poll()
        if code in (None, 0):
            return None
        text = self.errors.read_text(encoding="utf-8", errors="replace").strip()
        return printable(text) or f"the run ended with exit code {code}"


def report(folder: Path) -> str:
    """Write the page of a run; return the error message, empty where there is none."""
    done = subprocess.run(
        command_line("report", str(folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return ""
    return printable(done.stderr.strip()) or f"the report ended with exit code {done.returncode}"


def start(arguments: list[str], folder: Path) -> Child:
    """Start ``aecompress`` with ``arguments``, detached from this terminal; its run writes ``folder``."""
    with tempfile.NamedTemporaryFile(prefix="aecompress-", suffix=".log", delete=False) as errors:
        process = subprocess.Popen(
            command_line(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    # Without a wait the ended process stays in the process table for as long as this program runs.
    child = Child(process, folder, Path(errors.name))
    threading.Thread(target=_reap, args=(child,), daemon=True).start()
    return child


def _reap(child: Child) -> None:
    if child.process.wait() == 0:
        forget(child)


def wait(child: Child, look_seconds: float = 0.1) -> str | None:
    """Wait until the run writes its log; return its error message where it ended badly before that."""
    while not child.began():
        fault = child.fault()
        if fault is not None:
            forget(child)
            return fault
        time.sleep(look_seconds)
    return None


def forget(child: Child) -> None:
    """Remove the file of its stderr, once the run writes its log."""
    with contextlib.suppress(OSError):
        child.errors.unlink()
