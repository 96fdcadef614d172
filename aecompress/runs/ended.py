"""The result of a finished run, as its checked model folder has it: a log may be damaged, or older than an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aecompress.digests import SUMS, read_sums
from aecompress.errors import DataError
from aecompress.event_log import current, read_log
from aecompress.events import Event, Finished, Saved, Started, Verified, fits
from aecompress.files import read_own
from aecompress.parsing import parse_json, quoted

MODEL_FILES = {
    "config": "config.json",
    "weights": "model.safetensors",
    "rows": "rows.safetensors",
    "inputs": "inputs.txt",
    "encoder": "encoder.onnx",
    "decoder": "decoder.onnx",
    "autoencoder": "autoencoder.onnx",
}
REPORT_FILES = {"verification": "verification.json", "card": "README.md", "checksums": SUMS}
"""File names by kind, besides those of variants, which stand between the two."""


def files_in(model: Path, variants: dict[str, str]) -> dict[str, Path]:
    """Return the listed files of a model folder by kind, ``variants`` (kind -> name) between the others."""
    listed = {*read_sums(model), SUMS}
    kinds = MODEL_FILES | variants | REPORT_FILES
    return {kind: model / name for kind, name in kinds.items() if name in listed}


def held(run: Path, log: Sequence[Event]) -> list[Event]:
    """Return the log of a finished run with the files, metrics and verification of its model folder, which is checked.

    Raises:
        DataError: the folder's files do not have them, or the log lacks the end of the run.
    """
    model = run / "model"
    config, report = values_of(model / "config.json"), values_of(model / "verification.json")
    end = next((event for event in reversed(log) if isinstance(event, Finished)), None)
    verified = next((event for event in reversed(log) if isinstance(event, Verified)), None)
    if end is None or verified is None:
        raise DataError(f"{run / 'events.jsonl'}: lacks the end of the run; {model_serves(run)}")
    try:
        end = replace(end, **{name: config[name] for name in ("metrics", "sparsity", "zeros", "parameters")})
        verified = replace(
            verified,
            passed=report["passed"],
            checks=len(report["checks"]),
            max_difference=float(report["max_difference"]),
            tolerance=report["tolerance"],
        )
        files = files_in(model, report["files"])
    except (KeyError, TypeError, ValueError) as fault:
        raise DataError(f"{model}: lacks {quoted(fault)}; remove the folder and export the model again") from fault
    others = [event for event in log if not isinstance(event, Saved | Verified | Finished)]
    saved = [
        Saved(at=end.at, file=kind, path=str(path.relative_to(run)), bytes=path.stat().st_size)
        for kind, path in files.items()
    ]
    return [*others, verified, *saved, end]


def read_run(folder: Path) -> list[Event]:
    """Return the events of a run that still hold, without those of a run of another size.

    Raises:
        DataError: the log is gone or has no start.
    """
    path = folder / "events.jsonl"
    try:
        log = current(read_log(path))
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name the folder of a run") from fault
    start = next((event for event in log if isinstance(event, Started)), None)
    if start is None:
        raise DataError(f"{path}: has no start of a run; carry the run out again")
    return [event for event in log if fits(event, start)]


def model_serves(run: Path) -> str:
    """Return in one clause what is left of a finished run without its log, whose model folder was checked."""
    return f"the model is whole: `aecompress inspect {run}` shows it, `aecompress export {run}` exports it again"


def values_of(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        values = parse_json(read_own(path))
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read ({quoted(fault)}); export the model again") from fault
    if not isinstance(values, dict):
        raise DataError(f"{path}: is not an object; export the model again")
    return values
