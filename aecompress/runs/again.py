"""The model files of a finished run made again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.arrays import read_rows
from aecompress.data.base import Request
from aecompress.data.dataset import Dataset, load
from aecompress.data.scaling import Scaling
from aecompress.data.sources.registry import read_array
from aecompress.data.sources.stdin import STDIN
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import DataError
from aecompress.plan.budget import file_bytes
from aecompress.plan.data import request_of
from aecompress.runs import folder, front
from aecompress.runs.metrics import with_metrics
from aecompress.runs.package import Handed, hand_over, unverified
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import resolve
from aecompress.steering import read_status


def export_again(
    where: Path, flags: dict[str, tuple[str, Any]], output: Path | None, dense: bool, pick: str | None = None
) -> Handed:
    """Make the model files of a finished run again from its weights and rows.

    Args:
        pick: which member of the run's front (:func:`aecompress.runs.front.pick`); None: the model that the run chose.
        flags: dotted path -> (the flag as the user wrote it, text) of export fields.
        output: the model folder; None: that of the run, or of the member.
        dense: leave all layers as large as they were trained.

    Raises:
        AecompressError: the run has no model, a flag is wrong, the rows are gone, or a file does not verify.
    """
    status = read_status(where)
    resolved = resolve(flags, file=where / "spec.toml")
    spec = resolved.spec
    if output is not None:
        folder.check_output(output, False)
    stdin = read_array(where / "data.npy") if spec.data.source == STDIN else None
    dataset = load(request_of(spec.data, spec.seed, Path(str(status.get("directory", "")))), stdin)
    if dataset.fingerprint != status["dataset"]["fingerprint"]:
        raise DataError(f"{spec.data.source}: its rows are not those the run in {where} was made with; restore them")
    if pick is not None:
        handed = hand_over_picked(where, pick, spec, dataset, output, dense)
    else:
        handed = hand_over(where, load_model(where / "model"), dataset, spec, lambda: None, output, not dense)
    if not handed.verification.passed:
        raise unverified(handed)
    return handed


def hand_over_picked(
    where: Path, asked: str, spec: RunSpec, dataset: Dataset, output: Path | None, dense: bool
) -> Handed:
    """Hand over the member of a run's front that ``asked`` names; a limit of bytes holds for the file written."""
    kind, value = front.parsed(asked)
    members, most = front.load(where), value if kind == "bytes" else math.inf
    known: dict[Path, int] = {}

    def size_of(member: front.Member) -> int:
        if member.path not in known:
            model = load_model(member.path)
            known[member.path] = file_bytes(model.layers, model.tensors, spec.export)
        return known[member.path]

    while True:
        member = front.pick(members, asked, size_of)
        model = with_metrics(load_model(member.path), spec, dataset)
        handed = hand_over(where, model, dataset, spec, lambda: None, output or member.path, not dense, most)
        if not handed.verification.passed or handed.smallest <= most:
            return handed
        known[member.path] = handed.smallest  # more than was estimated: another member, or none


def rows_for_model(source: str, folder: Path, columns: str = "") -> NDArray[np.float32]:
    """Raw rows read from ``source`` and scaled as the model in ``folder`` was trained: ``[N, D]``."""
    rows = read_rows(Request(source=source, columns=columns))
    model = load_model(folder)
    flat, inputs = rows.reshape(len(rows), -1), model.encoder[0].inputs
    if flat.shape[1] != inputs:
        raise DataError(f"{source}: has {flat.shape[1]} inputs, the model in {folder} {inputs}; give its rows")
    return Scaling(**model.scaling).apply(flat)
