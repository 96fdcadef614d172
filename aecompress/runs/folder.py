"""The run folder while a run writes it: status, event log, folders that appear whole."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from aecompress.errors import OutputError
from aecompress.files import write_text

OURS = (
    "spec.toml",
    "run.json",
    "events.jsonl",
    "control",
    "data.npy",
    "checkpoint",
    "front",
    ".front.part",
    "report.html",
    "figures",
    "tensorboard",
    ".mlflow",
    "model",
    ".model.part",
    "verification-failed.json",
)
"""What a run writes into its folder; the only things ``force`` removes."""
LOCK_TRIES = 5


def check_output(folder: Path, force: bool) -> None:
    """Refuse a folder that a run must not write to.

    Raises:
        OutputError: it is a file, or not empty and ``force`` is not given.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose a folder with -o")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise OutputError(f"{folder}: is not empty; choose another folder with -o, or --force to replace the run in it")
    if (folder / "model").exists() and not (folder / "run.json").exists():
        raise OutputError(f"{folder}: holds a model that no run wrote; choose another folder with -o")


def begin(folder: Path, spec_toml: str) -> None:
    """Create the folder, remove an earlier run's files from it, and write the spec.

    Raises:
        OutputError: it cannot be written, or another process writes a run there.
    """
    try:
        if (folder / "events.jsonl").exists():
            open_log(folder).close()
        folder.mkdir(parents=True, exist_ok=True)
        for name in OURS:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        write_text(folder / "spec.toml", spec_toml)
    except OSError as fault:
        raise OutputError(f"{folder}: cannot be written ({fault.strerror}); choose another folder with -o") from fault


def write_status(folder: Path, status: str, about: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    packages = ("aecompress", "torch", "numpy", "onnx", "onnxruntime", "safetensors")
    values = {
        "status": status,
        **about,
        "host": platform.node(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }
    write_text(folder / "run.json", json.dumps(values, indent=1) + "\n")


def open_log(folder: Path) -> TextIO:
    """Open the event log for appending, for this process alone; a line that a kill left half-written is ended first.

    Raises:
        OutputError: another process writes it.
    """
    path = folder / "events.jsonl"
    torn = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    log = path.open("a", encoding="utf-8", buffering=1)
    if not lock(log):
        log.close()
        cure = f"wait for it, or stop it with `aecompress control {folder} stop`"
        raise OutputError(f"{folder}: another process is writing this run; {cure}")
    if torn:
        log.write("\n")
    return log


def lock(log: TextIO) -> bool:
    """Lock a file for this process alone and return whether that worked; the lock ends with the process."""
    if fcntl is None:
        return True
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:  # a process that checks whether the run is alive holds it for a moment
            time.sleep(0.05)
    return False


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """Create a folder under a temporary name beside ``final``; rename it into place on success, remove it on error.

    What was at ``final`` is replaced.
    """
    temporary = final.with_name(f".{final.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
