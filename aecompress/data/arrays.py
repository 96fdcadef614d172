"""Rows as dense arrays: checked, split, scaled, and known by their digest."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TypeVar

import numpy as np

from aecompress.data.advice import command_of
from aecompress.data.base import Array, Floats, Partition, Raw, Request, Splits
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.facts import Facts
from aecompress.data.file_rows import FileRows
from aecompress.data.kinds import Kind
from aecompress.data.labels import labels_in
from aecompress.data.scaled_rows import ScaledRows, scaled_rows, spread, stay_stored
from aecompress.data.scaling import Scaling, fit_scaling
from aecompress.data.sources.limits import check_numbers
from aecompress.data.sources.many import open_source
from aecompress.data.split import (
    Series,
    assign,
    group_column,
    group_numbers,
    group_place,
    short,
    splits_of,
    whole,
)
from aecompress.data.table import plain
from aecompress.data.windows import Windows
from aecompress.errors import DataError, TableError
from aecompress.registry import find_source

Source = TypeVar("Source", bound="Array | FileRows")


def checked(where: str, rows: Source, command: str = "") -> Source:
    """Return ``rows`` when they are finite numbers ``[N, ...]`` with at least one row and one input.

    Args:
        command: the one that treats gaps in rows ``[N, D]``.

    Raises:
        DataError: naming the source, the first bad place and the cure.
    """
    check_numbers(where, rows.dtype)
    if rows.ndim < 2:
        raise DataError(
            f"{where}: has shape {rows.shape}; rows of inputs are needed, shape (rows, inputs); "
            "of a series, --window makes them"
        )
    if rows.size == 0:
        raise DataError(f"{where}: has shape {rows.shape}, so no values; give at least two rows")
    if rows.dtype.kind == "f":
        check_finite(where, Chosen(flat(rows)), command if rows.ndim == 2 else "")
    return rows


def check_finite(where: str, rows: Chosen, command: str = "") -> None:
    """Refuse rows ``[N, D]`` with a value that is not finite.

    Args:
        command: the one that treats gaps; empty where none does.

    Raises:
        TableError: naming the first such place.
    """
    done = 0
    for block in rows.blocks():
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            value = block[row, column]
            cure = ", or treat them as missing: --missing drop, median or mean" if command else ""
            fault = f"{where}: row {done + row}, column {column} is {value}; remove or fill in such values first{cure}"
            raise TableError([fault], command)
        done += len(block)


def split_rows(raw: Raw[Array | FileRows], request: Request) -> Partition[Blocks]:
    """Split the rows read, or take validation and test rows from files of their own; flattened to ``[N, D]``.

    Nothing is copied: the splits choose rows of the arrays.

    Raises:
        DataError: rows are not finite numbers, or those of a file do not fit those of the source.
    """
    files = {"validation": request.validation, "test": request.test}
    given: dict[str, Array | FileRows | None] = {"validation": raw.validation, "test": raw.test}
    for name, file in files.items():
        if file:
            given[name] = plain(file, open_source(file, request.part, request.directory))
    rows, series = series_of(request.source, raw.train, raw, request)
    assignment = assign(series, request, {name for name, more in given.items() if more is not None})
    splits = splits_of(flat(rows), assignment)
    for name, more in given.items():
        if more is not None:
            where = files[name] or request.source
            own, its = series_of(where, more, replace(raw, files=()), request)
            if own.shape[1:] != rows.shape[1:]:
                raise DataError(
                    f"{where}: its rows have shape {more.shape[1:]}, those of {request.source} "
                    f"{raw.train.shape[1:]}; they must agree"
                )
            splits = splits._replace(**{name: whole(flat(own), its, request)})
    left_out = group_place(request, raw.inputs)
    return Partition(
        splits=splits,
        shape=window_shape(rows.shape[1:], request.window),
        inputs=tuple(name for place, name in enumerate(raw.inputs) if place != left_out),
        decisions=(*shape_notes(rows, request), *assignment.decisions),
    )


def shape_notes(rows: Array | FileRows, request: Request) -> tuple[str, ...]:
    """Return what is odd about the shape of an array of a file: far fewer rows than inputs, as if transposed."""
    if request.window or find_source(request.source) or len(rows.shape) != 2 or 4 * len(rows) > rows.shape[1]:
        return ()
    return (
        f"{len(rows):,} rows of {rows.shape[1]:,} inputs are fewer rows than inputs; if the columns of the array are "
        "the rows, transpose it",
    )


def all_rows(raw: Raw[Array | FileRows], request: Request, inputs: int) -> Blocks:
    """Return all rows of a source, checked and flattened to ``[N, D]``, or the windows of a series.

    Args:
        inputs: D; rows that have as many already are no series to make windows of.

    Raises:
        DataError: they are not finite numbers, or no window fits.
    """
    if request.window and raw.train.ndim > 1 and math.prod(raw.train.shape[1:]) == inputs:
        request = replace(request, window=0, split_by="auto")
    rows, series = series_of(request.source, raw.train, raw, request)
    return whole(flat(rows), series, request)


def window_shape(shape: tuple[int, ...], window: int) -> tuple[int, ...]:
    """Return the shape of one row, or of one window of rows of that shape."""
    return (window, *shape) if window else shape


def series_of(
    where: str, rows: Array | FileRows, raw: Raw[Array | FileRows], request: Request
) -> tuple[Array | FileRows, Series]:
    """Return checked rows ``[N, ...]`` without the column of the groups, and what the split depends on.

    Raises:
        DataError: they are not finite numbers, or there is no such column.
    """
    if rows.ndim == 1 and request.window:
        rows = flat(rows)
    rows = checked(where, rows, command_of(request, {"--missing": "median"}))
    column, groups = group_column(request), None
    if column:
        place = group_place(request, raw.inputs)
        if place is None or rows.ndim != 2 or not place < rows.shape[1] > 1:
            columns = ", ".join(short(raw.inputs)) or f"0 to {rows.shape[-1] - 1}"
            raise DataError(f"data.split_by = {request.split_by!r:.200}: {where} has columns {columns}; name one")
        held = np.asarray(rows)
        groups, rows = group_numbers(held[:, place], where, column), np.delete(held, place, axis=1)
    return rows, Series(count=len(rows), where=where, files=raw.files, groups=groups)


def flat(rows: Array | FileRows) -> Array | FileRows:
    """Return rows ``[N, ...]`` as ``[N, D]``."""
    return rows.flat() if isinstance(rows, FileRows) else rows.reshape(len(rows), math.prod(rows.shape[1:]))


def scale_rows(splits: Splits[Blocks], request: Request) -> tuple[Scaling, Splits[Floats | ScaledRows]]:
    """Fit the scaling on the training rows and apply it to all splits: at once, or when rows are taken from a file.

    Of windows, it is that of the values of one row, fitted on the rows that training windows hold, each once.

    Raises:
        DataError: scaled rows overflow float32, or are requested to be where they cannot be.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, by name
        train, left = splits.train, stay_stored(splits, request)
        if isinstance(train, Windows):
            scaling = fit_scaling(request.scaling, train.each).repeated(train.index.length)
        else:
            scaling = fit_scaling(request.scaling, train)
        scaled = Splits(*(scaled_rows(rows, scaling) if left else scaling.apply(rows) for rows in splits))
        for name, part in scaled._asdict().items():
            if not all(np.isfinite(block).all() for block in Chosen(part).blocks()):
                raise DataError(f"{request.source}: {name} rows overflow float32 after scaling; scale them down first")
    return scaling, scaled


def digest_of(splits: Splits[Blocks]) -> str:
    """Return the sha256 over names, types, shapes and raw values of all splits; of windows, of rows and places."""
    digest = hashlib.sha256()
    for name, rows in splits._asdict().items():
        digest.update(f"{name} {rows.dtype} {rows.shape}".encode())
        if isinstance(rows, Windows):
            digest.update(rows.index.starts.tobytes())
            rows = rows.each
        for block in rows.blocks():
            digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


SPREAD = 200
"""At most as many rows, evenly spread, are looked at for how often values are 0 or 1."""


def facts_of(train: Floats | ScaledRows, shape: tuple[int, ...]) -> Facts:
    """Return what "auto" fields depend on."""
    unit = bool(train.min() >= 0 and train.max() <= 1)
    binary = unit and all(np.isin(block, (0, 1)).all() for block in Chosen(train).blocks())
    some = train.spread(SPREAD) if isinstance(train, ScaledRows) else train[spread(len(train), SPREAD)]
    return Facts(
        rows=len(train),
        inputs=train.shape[1],
        binary=binary,
        unit=unit,
        saturated=float(((some == 0) | (some == 1)).mean()),
        shape=shape,
        stored=isinstance(train, ScaledRows),
    )


def labels_of(request: Request, test: Blocks) -> Array:
    """Read the labels of the test rows, int8 ``[N]``; a window is an anomaly where one of its rows is.

    Raises:
        DataError: they are not 0 and 1, or not as many as the rows.
    """
    if not isinstance(test, Windows):
        return read_labels(request, len(test))
    labels = read_labels(request, len(test.rows))
    found = test.index.counts(labels.astype(bool)) > 0
    if found.all():
        raise DataError(
            f"{request.labels}: every window of {request.window} rows has an anomaly; choose a smaller --window"
        )
    return found.astype(np.int8)


def read_labels(request: Request, rows: int) -> Array:
    """Read the labels ``[N]`` of the ``rows`` test rows, int8.

    Raises:
        DataError: they are not 0 and 1, or not as many as the rows.
    """
    part = request.part._replace(columns="")
    where = request.labels
    labels = labels_in(where, open_source(where, part, request.directory)).reshape(-1)
    if not request.test:
        raise DataError(f"data.labels = {where!r:.200}: are for the rows of data.test; name those too (--test)")
    if len(labels) != rows:
        raise DataError(f"{where}: has {len(labels)} labels for the {rows} rows of {request.test}; give one a row")
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        raise DataError(f"{where}: holds {np.unique(labels)[:5].tolist()}; 0 (normal) and 1 (anomaly) are needed")
    return labels.astype(np.int8)


ROWS = Kind(name="rows", split=split_rows, scale=scale_rows, digest=digest_of, facts=facts_of)
