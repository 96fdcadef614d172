"""What another process can learn of a run and tell it: its status, whether it is alive, the word in ``control``."""

from __future__ import annotations

import json
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
from aecompress.files import write_text

WORDS = ("pause", "resume", "stop")
"""What a run can be told; it looks once per generation and at batch boundaries."""


def new_folder(name: str) -> Path:
    """Where a run on the data called ``name`` goes when nobody says where."""
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}-{time.strftime('%Y%m%d-%H%M%S')}"


def read_status(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says.

    Raises:
        DataError: the folder holds no run.
    """
    path = folder / "run.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not isinstance(values.get("status"), str):
            raise ValueError("no status")
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name the folder of a run") from fault
    except ValueError as fault:
        raise DataError(f"{path}: is not a run's status ({fault}); name the folder of a run") from fault
    return values


def status_of(folder: Path) -> str:
    """running, finished, stopped or failed, as the run itself said; killed where it says running but is not.

    Raises:
        DataError: the folder holds no run.
    """
    values = read_status(folder)
    status = str(values["status"])
    return "killed" if status == "running" and not is_alive(folder, values) else status


def sweep_of(folder: Path) -> dict[str, Any] | None:
    """What ``sweep.json`` says of the sweep in a folder, killed where it says running but is not; None without one."""
    try:
        values = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        if values["status"] == "running" and not _locked(folder / ".lock"):
            values["status"] = "killed"
        return {"runs": int(values["runs"]), "finished": len(values["finished"]), "failed": len(values["failed"])} | {
            "study": str(values["study"]),
            "status": str(values["status"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(folder: Path, status: dict[str, Any]) -> bool:
    """Whether a process writes the run. Of one on another machine, or where files have no locks, nobody can tell."""
    if fcntl is None or status.get("host") != platform.node():
        return True
    return _locked(folder / "events.jsonl")


def _locked(path: Path) -> bool:
    """Whether a process holds the file alone, as a writer does for as long as it lives; where nobody can tell, True."""
    if fcntl is None:
        return True
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:  # no locks here, or none of ours to ask
        return True
    return False


def order(folder: Path, word: str) -> None:
    """Tell a run to pause, resume or stop.

    Raises:
        DataError: the folder holds no run, or none that is running.
        OutputError: ``control`` cannot be written.
    """
    status = status_of(folder)
    if status != "running":
        cure = "" if status == "finished" else f"; `aecompress prune --resume {folder}` goes on with it"
        raise DataError(f"{folder}: is {status}, so it cannot be told to {word}{cure}")
    try:
        write_text(folder / "control", word + "\n")
    except OSError as fault:
        raise OutputError(f"{folder / 'control'}: cannot be written ({fault.strerror}); check its rights") from fault
