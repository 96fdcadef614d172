"""A dataset ready to train on: split, scaled, checked."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aecompress import rng
from aecompress.data.facts import Facts
from aecompress.data.interactions import PREFIX, Rows, SparseRows, few, read_interactions
from aecompress.data.scaling import Scaling, fit_scaling
from aecompress.data.sources import STDIN, Array, Raw, file_and_key, read, read_array
from aecompress.data.split import split
from aecompress.errors import DataError
from aecompress.spec.fields import DataSpec


@dataclass(frozen=True)
class Dataset:
    """Scaled float32 rows ``[N, D]`` per split; validation and test may have no rows."""

    name: str
    train: Rows
    validation: Rows
    test: Rows
    row_shape: tuple[int, ...]
    scaling: Scaling
    fingerprint: str
    """sha256 over the raw rows of all splits, 16 hex digits."""
    notes: dict[str, float]
    """What a generated set knows of itself, for example its flip rate per split."""
    labels: Array | None = None
    """0 or 1 (anomaly) for each test row."""
    stdin: Array | None = None
    """The rows of standard input as they came: a resume cannot read them again."""
    inputs: tuple[str, ...] = ()
    """What the inputs stand for, where they have names: the items of interactions."""

    @property
    def splits(self) -> dict[str, Rows]:
        """The splits that have rows, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: rows for name, rows in parts.items() if len(rows)}

    @property
    def facts(self) -> Facts:
        """What the spec's "auto" fields depend on."""
        if isinstance(self.train, SparseRows):
            return Facts(len(self.train), self.train.inputs, binary=True, unit=True, sparse=True)
        unit = bool(self.train.min() >= 0 and self.train.max() <= 1)
        binary = unit and bool(np.isin(self.train, (0, 1)).all())
        return Facts(len(self.train), self.train.shape[1], binary, unit)


def load(spec: DataSpec, seed: int, stdin: Array | None = None, directory: Path = Path()) -> Dataset:
    """Read, split and scale the rows a spec asks for.

    Args:
        stdin: the rows of standard input, where they were read before.
        directory: where relative paths start from.

    Raises:
        DataError: rows are missing, not numbers, not finite, or do not fit together.
    """
    if spec.source.startswith(PREFIX):
        return interactions(spec, seed, directory)
    raw = (
        Raw("stdin", stdin)
        if stdin is not None
        else read(spec.source, spec.key, spec.columns, seed, spec.header, directory)
    )

    def own(source: str) -> Array:
        return read_array(*file_and_key(source, directory), spec.columns, spec.header)

    given = {
        "validation": own(spec.val) if spec.val else raw.validation,
        "test": own(spec.test) if spec.test else raw.test,
    }
    source = checked(spec.source, raw.train)
    shape = source.shape[1:]
    parts = dict(zip(("train", "validation", "test"), split(source, spec.split, given, seed), strict=True))
    for name, rows in given.items():
        if rows is not None:
            where = {"validation": spec.val, "test": spec.test}[name] or spec.source
            parts[name] = checked(where, rows)
            if parts[name].shape[1:] != shape:
                raise DataError(
                    f"{where}: its rows have shape {parts[name].shape[1:]}, those of {spec.source} {shape}; "
                    "they must agree"
                )
    flat = {name: rows.reshape(len(rows), math.prod(shape)) for name, rows in parts.items()}
    if len(flat["train"]) < 2:
        raise DataError(f"{spec.source}: leaves {len(flat['train'])} training rows; at least 2 are needed")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, by name
        scaling = fit_scaling(spec.scaling, flat["train"])
        scaled = {name: scaling.apply(rows) for name, rows in flat.items()}
    digest = hashlib.sha256()
    for name, rows in flat.items():
        digest.update(f"{name} {rows.dtype} {rows.shape}".encode())
        digest.update(np.ascontiguousarray(rows).tobytes())
    for name, rows in scaled.items():
        if not np.isfinite(rows).all():
            raise DataError(f"{spec.source}: {name} rows overflow float32 after scaling; scale them down first")
    return Dataset(
        raw.name,
        scaled["train"],
        scaled["validation"],
        scaled["test"],
        shape,
        scaling,
        digest.hexdigest()[:16],
        raw.notes,
        own_labels(spec, len(parts["test"]), directory) if spec.labels else None,
        raw.train if spec.source == STDIN else None,
    )


def interactions(spec: DataSpec, seed: int, directory: Path) -> Dataset:
    """The users of a CSV file of interactions, split at random by ``seed``.

    Raises:
        DataError: they cannot be read, or are too few.
    """
    users, items = read_interactions(spec.source, spec.columns, spec.header, directory)
    cuts = np.round(np.cumsum(spec.split) * len(users)).astype(int)
    order = rng.host(seed, "split").permutation(len(users))
    train, validation, test, _ = (users.pick(np.sort(part)) for part in np.split(order, cuts))
    if len(train) < 2:
        raise DataError(f"{spec.source}: leaves {len(train)} training rows; at least 2 are needed")
    digest = hashlib.sha256()
    for part in (train, validation, test):
        digest.update(part.starts.tobytes() + part.places.tobytes())
    name = Path(spec.source.removeprefix(PREFIX)).name.partition(".")[0]
    notes = {"interactions": float(len(users.places)), "density": len(users.places) / (len(users) * users.inputs)}
    whole = Scaling("none", 0.0, 1.0)
    return Dataset(
        name, train, validation, test, (users.inputs,), whole, digest.hexdigest()[:16], notes, inputs=tuple(items)
    )


def own_labels(spec: DataSpec, rows: int, directory: Path) -> Array:
    """The labels ``[N]`` of the test rows.

    Raises:
        DataError: they are not 0 and 1, or not as many as the rows.
    """
    labels = read_array(*file_and_key(spec.labels, directory), header=spec.header).reshape(-1)
    if not spec.test:
        raise DataError(f"data.labels = {spec.labels!r}: are for the rows of data.test; name those too (--test)")
    if len(labels) != rows:
        raise DataError(f"{spec.labels}: has {len(labels)} labels for the {rows} rows of {spec.test}; give one a row")
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        raise DataError(f"{spec.labels}: holds {np.unique(labels)[:5].tolist()}; 0 (normal) and 1 (anomaly) are needed")
    return labels.astype(np.int8)


def checked(where: str, rows: Array) -> Array:
    """``rows`` when they are finite numbers ``[N, ...]`` with at least one row and one input.

    Raises:
        DataError: naming the source, the first bad place and the cure.
    """
    if rows.dtype.kind not in "buif":
        raise DataError(f"{where}: holds values of type {rows.dtype}, not numbers; convert them to numbers first")
    if rows.ndim < 2:
        raise DataError(f"{where}: has shape {rows.shape}; rows of inputs are needed, shape (rows, inputs)")
    if rows.size == 0:
        raise DataError(f"{where}: has shape {rows.shape}, so no values; give at least two rows")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        place = np.argwhere(~np.isfinite(rows.reshape(len(rows), -1)))[0]
        value = rows.reshape(len(rows), -1)[tuple(place)]
        raise DataError(f"{where}: row {place[0]}, column {place[1]} is {value}; remove or fill in such values first")
    return rows


def write_npz(dataset: Dataset, path: Path) -> None:
    """Write the scaled splits to ``path``, one array each, under a temporary name first.

    Raises:
        DataError: the file cannot be written.
    """
    if path.suffix != ".npz":
        raise DataError(f"{path}: the splits are written as one .npz file; end the name in .npz")
    if isinstance(dataset.train, SparseRows):
        raise DataError(f"{path}: interactions are kept sparse and not written as dense arrays; keep their CSV file")
    temporary = path.with_name(f".{path.stem}.part.npz")
    shape = dataset.row_shape
    try:
        arrays: dict[str, Any] = {name: few(rows).reshape(-1, *shape) for name, rows in dataset.splits.items()}
        np.savez(temporary, **arrays)
        temporary.replace(path)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({fault.strerror}); choose another place") from fault
