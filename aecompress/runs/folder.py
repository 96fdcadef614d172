"""The run folder while a run writes it: status, event log, control. The model inside is :mod:`deploy`'s."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from aecompress import events
from aecompress.errors import Interrupted, OutputError
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
CONTROL_SECONDS = 0.2
"""How often ``control`` is looked at."""


def check_output(folder: Path, force: bool) -> None:
    """Refuse a folder that a run must not be written to.

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
    """Make the folder, remove an earlier run's files from it, and write the spec.

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
    """The event log, for appending and for this process alone; a line that a kill left half-written is closed first.

    Raises:
        OutputError: another process has it.
    """
    path = folder / "events.jsonl"
    torn = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    log = path.open("a", encoding="utf-8", buffering=1)
    if not lock(log):
        log.close()
        cure = f"wait for it, or end it with `aecompress control {folder} stop`"
        raise OutputError(f"{folder}: another process is writing this run; {cure}")
    if torn:
        log.write("\n")
    return log


def lock(log: TextIO) -> bool:
    """Have the log for this process alone; it is let go of when the process ends, however it ends."""
    if fcntl is None:
        return True
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:  # somebody who asks whether the run is alive has it for a moment
            time.sleep(0.05)
    return False


class Control:
    """Orders to a run: a signal that was caught, or the word in the folder's ``control`` file."""

    def __init__(self, folder: Path, stop: Callable[[], int | None], tell: Callable[[events.Event], None]) -> None:
        self.path = folder / "control"
        self.stop = stop
        self.tell = tell
        self.generation = 0
        """The last completed generation."""
        self._next = 0.0
        self._turn = threading.Lock()

    def poll(self) -> None:
        """Obey; cheap enough for every batch.

        Raises:
            Interrupted: the run is to stop.
        """
        self._obey_signal()
        if time.monotonic() < self._next:
            return
        with self._turn:  # several threads may train; one of them waits for all
            if time.monotonic() < self._next:
                return
            if self._word() == "pause":
                self.tell(events.Paused(time.time(), self.generation, True))
                while self._word() == "pause":
                    self._obey_signal()
                    time.sleep(CONTROL_SECONDS / 2)
                self.tell(events.Paused(time.time(), self.generation, False))
            if self._word() == "stop":
                raise Interrupted(f"stopped by control after generation {self.generation}", signal.SIGTERM)
            self._next = time.monotonic() + CONTROL_SECONDS

    def _obey_signal(self) -> None:
        number = self.stop()
        if number is not None:
            name = signal.Signals(number).name
            raise Interrupted(f"stopped by {name} after generation {self.generation}", number)

    def _word(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
