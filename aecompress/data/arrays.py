"""Rows as dense arrays: checked, split, scaled, and known by their digest."""

from __future__ import annotations

import hashlib
import math
from typing import TypeVar

import numpy as np

from aecompress.data.base import Array, Floats, Raw, Request, Splits
from aecompress.data.chosen import Chosen
from aecompress.data.facts import Facts
from aecompress.data.file_rows import FileRows
from aecompress.data.kinds import Kind
from aecompress.data.scaled_rows import ScaledRows, scaled_rows
from aecompress.data.scaling import Scaling, fit_scaling
from aecompress.data.sources.formats import file_and_key, open_array, read_array
from aecompress.data.sources.limits import check_numbers
from aecompress.data.split import split
from aecompress.errors import DataError
from aecompress.machine import free_bytes, gib, memory_bytes

MOST_MEMORY = 0.5
"""The share of the free memory that rows may take; the rest is for training and for what else the machine does."""

Source = TypeVar("Source", bound="Array | FileRows")


def checked(where: str, rows: Source) -> Source:
    """Return ``rows`` when they are finite numbers ``[N, ...]`` with at least one row and one input.

    Raises:
        DataError: naming the source, the first bad place and the cure.
    """
    check_numbers(where, rows.dtype)
    if rows.ndim < 2:
        raise DataError(f"{where}: has shape {rows.shape}; rows of inputs are needed, shape (rows, inputs)")
    if rows.size == 0:
        raise DataError(f"{where}: has shape {rows.shape}, so no values; give at least two rows")
    if rows.dtype.kind == "f":
        check_finite(where, Chosen(flat(rows)))
    return rows


def check_finite(where: str, rows: Chosen) -> None:
    """Refuse rows ``[N, D]`` with a value that is not finite.

    Raises:
        DataError: naming the first such place.
    """
    done = 0
    for block in rows.blocks():
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            value = block[row, column]
            raise DataError(
                f"{where}: row {done + row}, column {column} is {value}; remove or fill in such values first"
            )
        done += len(block)


def split_rows(raw: Raw[Array | FileRows], request: Request) -> Splits[Chosen]:
    """Split the rows read, or take validation and test rows from files of their own; flattened to ``[N, D]``.

    Nothing is copied: the splits choose rows of the arrays.

    Raises:
        DataError: rows are not finite numbers, or those of a file do not fit those of the source.
    """
    files = {"validation": request.validation, "test": request.test}
    given: dict[str, Array | FileRows | None] = {"validation": raw.validation, "test": raw.test}
    for name, file in files.items():
        if file:
            path, key = file_and_key(file, request.directory)
            given[name] = open_array(path, request.part._replace(key=key))
    shape = checked(request.source, raw.train).shape[1:]
    splits = split(flat(raw.train), request.split, given, request.seed)
    for name, rows in given.items():
        if rows is not None:
            where = files[name] or request.source
            splits = splits._replace(**{name: Chosen(flat(checked(where, rows)))})
            if rows.shape[1:] != shape:
                raise DataError(
                    f"{where}: its rows have shape {rows.shape[1:]}, those of {request.source} {shape}; they must agree"
                )
    return splits


def flat(rows: Array | FileRows) -> Array | FileRows:
    """Return rows ``[N, ...]`` as ``[N, D]``."""
    return rows.flat() if isinstance(rows, FileRows) else rows.reshape(len(rows), math.prod(rows.shape[1:]))


def scale_rows(splits: Splits[Chosen], request: Request) -> tuple[Scaling, Splits[Floats | ScaledRows]]:
    """Fit the scaling on the training rows and apply it to all splits: at once, or when rows are taken from a file.

    Raises:
        DataError: scaled rows overflow float32, or are requested to be where they cannot be.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, by name
        in_file = stay_in_file(splits, request)
        scaling = fit_scaling(request.scaling, splits.train)
        scaled = Splits(
            *(
                scaled_rows(rows, scaling) if in_file and isinstance(rows.rows, FileRows) else scaling.apply(rows)
                for rows in splits
            )
        )
        for name, part in scaled._asdict().items():
            if not all(np.isfinite(block).all() for block in Chosen(part).blocks()):
                raise DataError(f"{request.source}: {name} rows overflow float32 after scaling; scale them down first")
    return scaling, scaled


def stay_in_file(splits: Splits[Chosen], request: Request) -> bool:
    """Return whether rows are left in their file and read when they are taken.

    Raises:
        DataError: that is requested and they have no such file, or memory is requested that there is not.
    """
    stored = isinstance(splits.train.rows, FileRows)
    if request.in_memory == "no":
        if not stored:
            raise DataError(
                f"data.in_memory = 'no': {request.source} has no rows that can be read one by one; "
                "save them with numpy.save as one .npy file, or leave out --in-memory"
            )
        return True
    needed = sum(4 * math.prod(rows.shape) for rows in splits)
    if request.in_memory == "yes" and needed > memory_bytes():
        raise DataError(
            f"{request.source}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; "
            + ("leave out --in-memory yes, and rows are read from their file" if stored else "give fewer rows")
        )
    return stored and request.in_memory == "auto" and needed > MOST_MEMORY * free_bytes()


def digest_of(splits: Splits[Chosen]) -> str:
    """Return the sha256 over names, types, shapes and raw values of all splits."""
    digest = hashlib.sha256()
    for name, rows in splits._asdict().items():
        digest.update(f"{name} {rows.dtype} {rows.shape}".encode())
        for block in rows.blocks():
            digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def facts_of(train: Floats | ScaledRows, shape: tuple[int, ...]) -> Facts:
    """Return what "auto" fields depend on."""
    unit = bool(train.min() >= 0 and train.max() <= 1)
    binary = unit and all(np.isin(block, (0, 1)).all() for block in Chosen(train).blocks())
    return Facts(
        rows=len(train),
        inputs=train.shape[1],
        binary=binary,
        unit=unit,
        shape=shape,
        stored=isinstance(train, ScaledRows),
    )


def read_labels(request: Request, rows: int) -> Array:
    """Read the labels ``[N]`` of the ``rows`` test rows, int8.

    Raises:
        DataError: they are not 0 and 1, or not as many as the rows.
    """
    path, key = file_and_key(request.labels, request.directory)
    labels = read_array(path, request.part._replace(key=key, columns="")).reshape(-1)
    where = request.labels
    if not request.test:
        raise DataError(f"data.labels = {where!r:.200}: are for the rows of data.test; name those too (--test)")
    if len(labels) != rows:
        raise DataError(f"{where}: has {len(labels)} labels for the {rows} rows of {request.test}; give one a row")
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        raise DataError(f"{where}: holds {np.unique(labels)[:5].tolist()}; 0 (normal) and 1 (anomaly) are needed")
    return labels.astype(np.int8)


ROWS = Kind(name="rows", split=split_rows, scale=scale_rows, digest=digest_of, facts=facts_of)
