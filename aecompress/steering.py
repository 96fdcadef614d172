"""A run from another process: its status, whether it is alive, and the orders in its ``control`` file."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from aecompress.errors import DataError, OutputError
from aecompress.files import open_own, read_own, write_text
from aecompress.parsing import parse_json, quoted

STATUS: dict[str, type] = {
    "status": str, "seed": int, "spec_hash": str, "sources": dict, "dataset": dict, "device": str, "card": dict,
    "directory": str, "code": dict, "host": str, "pid": int, "python": str, "versions": dict,
}  # fmt: skip
"""What ``run.json`` holds."""
ORDERS = ("pause", "resume", "stop")
"""Orders to a run, which reads them between batches."""


def new_folder(name: str) -> Path:
    """Return the default folder of a run on the data called ``name``."""
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}-{time.strftime('%Y%m%d-%H%M%S')}"


def read_status(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        DataError: the folder holds no run.
    """
    path = folder / "run.json"
    try:
        values = parse_json(read_own(path))
        if not isinstance(values, dict) or "status" not in values:
            raise ValueError("no status")
        for name, kind in STATUS.items():
            if name in values and not isinstance(values[name], kind):
                raise ValueError(f"{name} = {quoted(values[name])}")
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name the folder of a run") from fault
    except ValueError as fault:
        raise DataError(f"{path}: is not a run's status ({quoted(fault)}); name the folder of a run") from fault
    return values


def fingerprint_of(folder: Path, status: dict[str, Any]) -> str:
    """Return the digest of the rows that the run with this ``status`` was started with.

    Raises:
        DataError: ``run.json`` does not have it.
    """
    found = status.get("dataset", {}).get("fingerprint")
    if not isinstance(found, str):
        raise DataError(f"{folder / 'run.json'}: does not name its rows (dataset.fingerprint); carry the run out again")
    return found


def names_of(status: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the columns of standard input of the run with this ``status``, where it had any."""
    found = status.get("dataset", {}).get("inputs")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def status_of(folder: Path) -> str:
    """Return running, finished, stopped or failed, as the run wrote it; killed where no process is running it.

    Raises:
        DataError: the folder holds no run.
    """
    values = read_status(folder)
    status = str(values["status"])
    return "killed" if status == "running" and not is_alive(folder, values) else status


def sweep_of(folder: Path) -> dict[str, Any] | None:
    """Return a summary of the sweep in a folder, killed where no process carries it out; None without a sweep."""
    try:
        values = parse_json(read_own(folder / "sweep.json"))
        if values["status"] == "running" and not _locked(folder / ".lock"):
            values["status"] = "killed"
        return {"runs": int(values["runs"]), "finished": len(values["finished"]), "failed": len(values["failed"])} | {
            "study": str(values["study"]),
            "status": str(values["status"]),
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def is_alive(folder: Path, status: dict[str, Any]) -> bool:
    """Return whether a process writes the run; True where that is unknown: on another machine, or without locks."""
    if fcntl is None or status.get("host") != platform.node():
        return True
    return _locked(folder / "events.jsonl")


def _locked(path: Path) -> bool:
    """Return whether a process holds the file's lock, as a writer does while it lives; True without locks."""
    if fcntl is None:
        return True
    try:
        with open_own(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:  # this file system has no locks
        return True
    return False


def order(folder: Path, word: str) -> None:
    """Order a run to pause, resume or stop.

    Args:
        word: one of :data:`ORDERS`.

    Raises:
        DataError: the folder holds no run, or none that is running.
        OutputError: ``control`` cannot be written.
    """
    status = status_of(folder)
    if status != "running":
        cure = "" if status == "finished" else f"; `aecompress prune --resume {folder}` resumes it"
        raise DataError(f"{folder}: is {status}, so it cannot {word}{cure}")
    try:
        write_text(folder / "control", word + "\n")
    except OSError as fault:
        raise OutputError(f"{folder / 'control'}: cannot be written ({fault.strerror}); check its rights") from fault
