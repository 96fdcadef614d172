"""The model files of a finished run exported again, with other variants, scaling or opset."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Request
from aecompress.data.dataset import Dataset, read_rows
from aecompress.data.encoding import Encoding
from aecompress.data.scaling import Scaling
from aecompress.deploy.checkpoint import Model, load_model
from aecompress.errors import DataError, OutputError, SpecError
from aecompress.files import standing
from aecompress.plan.budget import file_bytes
from aecompress.plan.export import Export
from aecompress.polling import no_poll
from aecompress.runs import folder, front
from aecompress.runs.job import prepare_export
from aecompress.runs.metrics import with_metrics
from aecompress.runs.package import Package, TooLargeError, export_model
from aecompress.runs.restore import restored


def export_again(
    run: Path, flags: dict[str, tuple[str, Any]], output: Path | None, dense: bool, pick: str | None = None
) -> Package:
    """Write the model files of a run again, from its weights and rows; where it has no model, from its last checkpoint.

    Args:
        flags: dotted path -> (the flag as the user wrote it, value) of export fields.
        output: the model folder; None: that of the run, or of the picked model.
        dense: leave all layers as large as they were trained.
        pick: a model of the run's front (:func:`aecompress.runs.front.pick`); None: the model that the run exported.

    Raises:
        AecompressError: the run has no model, a flag is wrong, the rows are gone, or a file does not verify.
    """
    if output is not None:
        folder.check_output(output, False)
        if Path.cwd().is_relative_to(output.resolve()):  # it is replaced, and whoever works in it would be nowhere
            raise OutputError(f"{output}: is the working folder, or holds it; name another folder with -o")
    dataset, export = prepare_export(run, flags)
    if "export.values" in flags and "packed" not in export.variants:
        raise SpecError("--values: is of packed files, which are not requested; add --variants packed")
    if pick is not None:
        return export_picked(run, pick, export, dataset, output, dense)
    where = standing(run / "model")
    if where.is_dir():
        return export_model(run, load_model(where), dataset, export, no_poll, final=output, compacted=not dense)
    model, note = restored(run)
    package = export_model(run, model, dataset, export, no_poll, final=output, compacted=not dense)
    return replace(package, compared=replace(package.compared, notes=(note, *package.compared.notes)))


def export_picked(run: Path, pick: str, export: Export, dataset: Dataset, output: Path | None, dense: bool) -> Package:
    """Export the model of a run's front that ``pick`` names; a limit of bytes holds for the file that is written."""
    kind, value = front.parsed(pick)
    members, most = front.load(run), value if kind == "bytes" else math.inf
    sizes: dict[Path, int] = {}

    def size_of(member: front.Member) -> int:
        if member.path not in sizes:
            sizes[member.path] = about_bytes(load_model(standing(member.path)), export, dataset.facts.described)
        return sizes[member.path]

    while True:
        member = front.pick(members, pick, size_of)
        model, final = with_metrics(load_model(standing(member.path)), export, dataset), output or member.path
        try:
            return export_model(run, model, dataset, export, no_poll, final=final, compacted=not dense, most_bytes=most)
        except TooLargeError as fault:
            sizes[member.path] = fault.size  # more than was estimated: pick again


def about_bytes(model: Model, export: Export, described: int) -> int:
    """Return about the bytes of the smallest autoencoder file that a model's export writes.

    Args:
        described: bytes that names and scaling of the inputs take in it.
    """
    return file_bytes(model.layers, model.tensors, export.opset, export.variants, export.values) + described


def rows_for_model(
    source: str, folder: Path, columns: str = "", report: Callable[[str], None] = lambda note: None
) -> NDArray[np.float32]:
    """Read raw rows, make inputs of them, and scale them as the model in ``folder`` was trained: ``[N, *shape]``.

    Args:
        report: gets a sentence about each thing that is ignored, left out or unknown.

    Raises:
        DataError: the rows cannot be read, or are not those of the model.
    """
    model = load_model(folder)
    request = windowed(Request(source=source, columns=columns), model, folder)
    rows, notes = read_rows(request, model.inputs, encoding_of(model, folder))
    for note in notes:
        report(f"{source}: {note}")
    if rows.shape[1] != model.inputs:
        raise DataError(f"{source}: has {rows.shape[1]} inputs, the model in {folder} {model.inputs}; give its rows")
    return Scaling(**model.scaling).apply(rows).reshape(-1, *model.shape)


def encoding_of(model: Model, folder: Path = Path()) -> Encoding | None:
    """Return how the columns of a table become the inputs of a model; None where it was trained on an array.

    Raises:
        DataError: what config.json says of them is not what a run writes.
    """
    about = model.about.get("columns")
    return None if about is None else Encoding.from_json(about, folder / "config.json")


def windowed(request: Request, model: Model, folder: Path) -> Request:
    """Return a request whose rows are made into windows as the rows of the model were.

    Raises:
        DataError: what config.json says of them is not what a run writes.
    """
    window, stride, group = (
        model.about.get(name, usual) for name, usual in (("window", 0), ("stride", 1), ("group", ""))
    )
    if not (type(window) is type(stride) is int and type(group) is str and window >= 0 and stride > 0):
        raise DataError(f"{folder / 'config.json'}: window, stride or group is damaged; make the model again")
    return replace(request, window=window, stride=stride, split_by=f"group:{group}" if group else "auto")
