"""A dataset ready to train on: split, scaled, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aecompress.data.arrays import ROWS, all_rows, labels_of
from aecompress.data.base import Array, Raw, Request
from aecompress.data.chosen import Blocks
from aecompress.data.encoding import Encoding
from aecompress.data.facts import Facts
from aecompress.data.kinds import Kind, check_installed
from aecompress.data.pca import Components, principal_components
from aecompress.data.raw import described_bytes
from aecompress.data.scaling import Scaling, scaling_decisions, sentinel_notes
from aecompress.data.sources.registry import kind_of, read
from aecompress.data.sources.stdin import STDIN
from aecompress.data.sparse import Rows, whole
from aecompress.data.split import group_column
from aecompress.data.table import Table, plain
from aecompress.data.tables import as_table, check_no_table, encoded_rows, has_inputs, split_table
from aecompress.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Scaled float32 rows ``[N, D]`` per split; validation and test may have no rows.

    Rows are flat. ``shape`` keeps what they were before, so a first layer that needs rows ``[N, *shape]`` gets them by
    a reshape, which copies nothing; a dense first layer takes them as they are.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows
    shape: tuple[int, ...]
    """Of one row; its product is D."""
    scaling: Scaling
    fingerprint: str
    """sha256 over the raw rows of all splits, 16 hex digits."""
    notes: dict[str, float]
    """Numbers that a source knows of its rows, for example the flip rate of each split."""
    kind: Kind[Any, Any] = ROWS
    labels: Array | None = None
    """0 or 1 (anomaly) for each test row."""
    stdin: Array | Table | None = None
    """The raw rows of standard input: a resume cannot read them again."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs, where they have names: the columns of CSV, the items of interactions; of windows, those of
    one of their rows."""
    decisions: tuple[str, ...] = ()
    """What was decided about the rows, as clauses a person reads."""
    window: int = 0
    """Rows in order that make one row; 0: rows stand alone."""
    stride: int = 1
    """Rows from the start of a window to that of the next."""
    group: str = ""
    """The column of the groups, which is no input; empty without any."""
    encoding: Encoding | None = None
    """How the columns of a table became inputs."""

    @property
    def splits(self) -> dict[str, Rows]:
        """Return the splits that have rows, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: rows for name, rows in parts.items() if len(rows)}

    def components(self, count: int) -> Components:
        """Return the first ``count`` principal components of the training rows, or all; computed once."""
        if count not in self._components:
            self._components[count] = principal_components(self.train, count)
        return self._components[count]

    @cached_property
    def _components(self) -> dict[int, Components]:
        return {}

    @property
    def facts(self) -> Facts:
        """Return what the spec's "auto" fields depend on."""
        facts = self.kind.facts(self.train, self.shape)
        return replace(facts, described=described_bytes(self.scaling, self.inputs), windows=self.window > 0)


def load(request: Request, given: Raw[Any] | None = None) -> Dataset:
    """Read, split and scale the rows of a request.

    Args:
        given: raw rows that are in memory, instead of those that ``request.source`` names.

    Raises:
        DataError: rows are missing, not numbers, not finite, or do not fit together, or their kind is not installed.
    """
    kind = kind_of(request.source)
    check_installed(kind)
    raw: Raw[Any] = read(request) if given is None else given
    del given
    raw = replace(raw, train=as_table(raw.train, request))
    if isinstance(raw.train, Table):
        partition = split_table(raw, request)
    else:
        check_no_table(request)
        partition = kind.split(raw, request)
    splits, kept = partition.splits, raw.train if request.source == STDIN else None
    raw = replace(raw, train=None, validation=None, test=None)  # the rows are not held beside splits and scaled rows
    if len(splits.train) < 2:
        raise DataError(f"{request.source}: leaves {len(splits.train)} training rows; at least 2 are needed")
    scaling, scaled = kind.scale(splits, request)
    return Dataset(
        name=raw.name,
        train=scaled.train,
        validation=scaled.validation,
        test=scaled.test,
        shape=partition.shape,
        scaling=scaling,
        fingerprint=kind.digest(splits)[:16],
        notes=raw.notes,
        kind=kind,
        labels=labels_of(request, splits.test) if request.labels else partition.labels,
        stdin=kept,
        inputs=partition.inputs,
        decisions=partition.decisions
        + (() if kind.sparse else scaling_decisions(request.scaling, scaling, splits.train.dtype))
        + (() if partition.encoding else sentinel_notes(scaling)),
        window=request.window,
        stride=request.stride,
        group=group_column(request),
        encoding=partition.encoding,
    )


def read_rows(request: Request, inputs: int = 0, encoding: Encoding | None = None) -> tuple[Blocks, tuple[str, ...]]:
    """Read and check the rows of a source, unsplit and unscaled: ``[N, D]``, or the windows of a series.

    Args:
        inputs: D; rows that have as many already are no series to make windows of.
        encoding: how the columns of a table become inputs; None: all are numbers.

    Returns:
        The rows, and what to report of them.

    Raises:
        DataError: they cannot be read or used, or are not kept as an array.
    """
    if kind_of(request.source) is not ROWS:
        raise DataError(f"{request.source}: is for training; give rows as .npy or .npz, in the order of inputs.txt")
    raw = read(request)
    if encoding is not None and not has_inputs(raw.train, encoding, inputs):
        return encoded_rows(raw, request, encoding)
    return all_rows(replace(raw, train=plain(request.source, raw.train)), request, inputs), ()


def write_npz(dataset: Dataset, path: Path) -> None:
    """Write the scaled splits to ``path``, one array ``[N, *shape]`` each, under a temporary name first.

    Raises:
        DataError: the file cannot be written, or the rows are sparse.
    """
    if path.suffix != ".npz":
        raise DataError(f"{path}: the splits are written as one .npz file; end the name in .npz")
    if dataset.kind.sparse:
        raise DataError(
            f"{path}: {dataset.kind.name} are kept sparse and not written as dense arrays; keep their CSV file"
        )
    temporary = path.with_name(f".{path.stem}.part.npz")
    try:
        arrays: dict[str, Any] = {
            name: whole(rows).reshape(-1, *dataset.shape) for name, rows in dataset.splits.items()
        }
        np.savez(temporary, **arrays)
        temporary.replace(path)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({fault.strerror}); choose another place") from fault
