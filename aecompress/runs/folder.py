"""The run folder while a run writes it: status, event log, folders that appear whole."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from aecompress.data.sources.stdin import STDIN
from aecompress.digests import SUMS, read_sums
from aecompress.errors import DataError, OutputError, SpecError
from aecompress.files import append_own, aside, discard, open_own, recover, standing, write_text
from aecompress.spec.toml import read_toml
from aecompress.steering import read_status

BEGUN = ".begun"
"""In a folder until its ``run.json`` is: a kill in between leaves a folder that a run of ours wrote."""
OURS = (
    "spec.toml",
    "events.jsonl",
    "control",
    "checkpoint",
    "front",
    ".front.part",
    ".front.old",
    "report.html",
    "tensorboard",
    ".mlflow",
    "model",
    ".model.part",
    "pretrained",
    ".pretrained.part",
    ".pretrained.old",
    ".model.old",
    "verification-failed.json",
)
"""What a run writes into its folder, besides run.json, data.npy and figures: all that ``force`` removes."""
FIGURES = ("loss", "sparsity", "layers", "before_after", "activations", "coverage")
"""The figures of a run's report, each as .svg and .png."""
NUMBERED = re.compile(r"[0-9]{2,9}|generation-[0-9]{6,18}\.(json|safetensors)")
"""Names in a front and in a folder of checkpoints."""
LARGEST_SPEC = 1 << 24
"""Bytes."""
LOCK_TRIES = 5


def check_output(folder: Path, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse a folder that a run must not write to.

    Args:
        inputs: files that the run reads.

    Raises:
        OutputError: it is a file, or not empty and ``force`` is not given, or holds no run of ours, or an input.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose a folder with -o")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise OutputError(f"{folder}: is not empty; choose another folder with -o, or --force to replace the run in it")
    if folder.exists() and any(folder.iterdir()) and not holds_run(folder):
        raise OutputError(f"{folder}: holds files that no run wrote; choose another folder with -o")
    for path in inputs:
        if path.exists() and path.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{folder}: holds the input {path}; choose another folder with -o")
    for part in (folder / "model", folder / "front", folder / "checkpoint", folder / "pretrained"):
        check_replaceable(standing(part))


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that is a link, or no folder at all, or that holds what no run wrote.

    Raises:
        OutputError: naming the file.
    """
    if folder.is_symlink():
        raise OutputError(f"{folder}: is a link, which is not replaced; remove it, or choose another folder with -o")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder; remove it, or choose another folder with -o")
    for path in strangers(folder):
        raise OutputError(f"{path}: was not written by a run; move it, or choose another folder with -o")


def strangers(folder: Path) -> Iterator[Path]:
    """Yield what no run wrote into a model folder, a front or a folder of checkpoints; hidden files do not count."""
    try:
        listed = read_sums(folder)
    except DataError:  # a damaged list does not show whose a file is
        return
    is_front = any("/" in name for name in listed)
    is_model = (bool(listed) and not is_front) or (folder / "config.json").exists()
    for path in sorted(folder.glob("[!.]*")):
        if is_model:
            if listed and path.name not in (SUMS, *listed):  # earlier builds wrote no list
                yield path
        elif is_front and path.name == SUMS:
            continue
        elif NUMBERED.fullmatch(path.name) is None:
            yield path
        elif path.is_dir():
            yield from strangers(path)


def holds_run(folder: Path) -> bool:
    """Return whether a run of ours wrote the folder, even if it ended at once."""
    if (folder / BEGUN).exists():
        return True
    try:
        return "spec_hash" in read_status(folder)
    except DataError:
        return False


def begin(folder: Path, spec_toml: str) -> None:
    """Create the folder, remove an earlier run's files from it, and write the spec; ``run.json`` is replaced later.

    Raises:
        OutputError: it cannot be written, or another process writes a run there.
    """
    try:
        if (folder / "events.jsonl").exists():
            open_log(folder).close()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BEGUN).touch()
        for path in written_by_runs(folder):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        write_text(folder / "spec.toml", spec_toml)
    except OSError as fault:
        raise OutputError(f"{folder}: cannot be written ({fault.strerror}); choose another folder with -o") from fault


def written_by_runs(folder: Path) -> list[Path]:
    """Return what the last run wrote into its folder, besides ``run.json``; other files are the user's."""
    found = [folder / name for name in OURS]
    found += [folder / "figures" / f"{name}{ending}" for name in FIGURES for ending in (".svg", ".png")]
    try:
        rows = read_toml(own_spec(folder)).get("data", {}).get("source") == STDIN
    except (DataError, SpecError, AttributeError):
        rows = False
    return [*found, folder / "data.npy"] if rows else found


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what a run depends on; known from its start on, because at the end of Python none is."""
    packages = ("aecompress", "torch", "numpy", "onnx", "onnxruntime", "safetensors")
    return {package: metadata.version(package) for package in packages}


def write_status(folder: Path, status: str, about: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    values = {
        "status": status,
        **about,
        "host": platform.node(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "versions": versions(),
    }
    write_text(folder / "run.json", json.dumps(values, indent=1) + "\n")


def open_log(folder: Path) -> TextIO:
    """Open the event log for appending, for this process alone; a line that a kill left half-written is ended first.

    Raises:
        OutputError: another process writes it, or it cannot be written.
    """
    path = folder / "events.jsonl"
    try:
        log = append_own(path)
        torn = _is_torn(path)
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror}); remove it, or check its rights") from fault
    if not lock(log):
        log.close()
        cure = f"wait for it, or stop it with `aecompress control {folder} stop`"
        raise OutputError(f"{folder}: another process is writing this run; {cure}")
    if torn:
        log.write("\n")
    return log


def _is_torn(path: Path) -> bool:
    """Return whether the last line of a log was left half-written."""
    with open_own(path) as log:
        if not os.fstat(log.fileno()).st_size:
            return False
        log.seek(-1, os.SEEK_END)
        return log.read() != b"\n"


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

    What was at ``final`` is replaced: it is renamed aside first and removed last, so that a kill at any time leaves
    one of both, which readers find (:func:`aecompress.files.standing`).

    Raises:
        OutputError: ``final`` holds what no run wrote, or is a link.
    """
    check_replaceable(final)
    temporary = final.with_name(f".{final.name}.part")
    discard(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        discard(temporary)
        raise
    old = aside(final)
    if final.exists():
        discard(old)
        final.replace(old)
    try:
        temporary.replace(final)
    except OSError:
        recover(final)
        raise
    discard(old)


def own_spec(folder: Path) -> Path:
    """Return the spec of the run in ``folder``, a file of the size that specs have.

    Raises:
        DataError: it is a link, a pipe or too large, or not there.
    """
    path = folder / "spec.toml"
    cure = "restore it, or start another run with `aecompress prune --spec`"
    try:
        with open_own(path) as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); {cure}") from fault
    if size > LARGEST_SPEC:
        raise DataError(f"{path}: has {size} bytes, more than a run's spec; {cure}")
    return path
