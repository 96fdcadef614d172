"""The rows of a table: decided, split, and made into inputs by what was fitted on the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.arrays import window_shape
from aecompress.data.base import Array, Partition, Raw, Request
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.column_words import counted
from aecompress.data.columns import Decisions, check, decide
from aecompress.data.encoding import Encoding, fit
from aecompress.data.file_rows import FileRows
from aecompress.data.inputs import Inputs, checked_inputs, inputs_of, lost_rows, unknown_texts
from aecompress.data.labels import anomalies_of, label_fault
from aecompress.data.profile import profile
from aecompress.data.sources.many import open_source
from aecompress.data.split import Series, assign, group_column, group_numbers, group_place, splits_of, whole
from aecompress.data.table import Column, Table
from aecompress.data.windows import Bools, Integers, Windows
from aecompress.errors import DataError
from aecompress.parsing import quoted


def as_table(rows: Array | Table | FileRows, request: Request) -> Array | Table | FileRows:
    """Return rows as a table where they are one, or must be, as gaps in an array ``[N, C]`` are to be treated."""
    if (
        isinstance(rows, np.ndarray | FileRows)
        and request.missing != "error"
        and rows.ndim in ((1, 2) if request.window else (2,))
        and rows.dtype.kind in "buif"
    ):
        return unnamed(rows)
    return rows


def unnamed(rows: Array | FileRows) -> Table:
    """Return an array ``[N, C]`` as a table of columns without names."""
    cells = np.asarray(rows).reshape(len(rows), -1).astype(np.float64, copy=False)
    return Table(cells=cells, columns=(Column(name=""),) * cells.shape[1], named=False)


def check_no_table(request: Request) -> None:
    """Refuse what only a table has, where the rows are an array.

    Raises:
        DataError: naming the flag.
    """
    if request.label:
        raise DataError(
            f"data.label = {request.label!r:.200}: {request.source} has no named columns; give labels with --labels"
        )


def split_table(raw: Raw[Table], request: Request) -> Partition[Blocks]:
    """Decide about the columns, split the rows, and make inputs ``[N, D]`` of them; no second copy of them is held.

    Raises:
        DataError: with every fault of the table; or a file of validation or test rows does not fit it.
    """
    table, where = raw.train, request.source
    decisions = decide(table, profile(table), request)
    check(where, decisions)
    given = given_rows(raw, request)
    series = series_of(table, decisions, raw, request)
    assignment = assign(series, request, set(given))
    encoding = fit(table, decisions, assignment.training)
    if not encoding.inputs:
        raise DataError(f"{where}: no input is left, as its dates do not vary; give more columns")
    inputs = Inputs.of(encoding, table, tuple(column.place for column in encoding.columns))
    splits = splits_of(table.cells if encoding.plain else inputs, assignment)
    notes = [*table.notes, *decisions.notes, *filled(encoding, series), *assignment.decisions]
    notes += [*alternating(table, request), *unknown_texts(inputs)]
    labels: Array | None = None if series.anomalies is None or "test" in given else assignment.labels(series.anomalies)
    for name, (file, more) in given.items():
        part, more_notes, more_labels = given_split(file, more, encoding, request, name == "test")
        splits = splits._replace(**{name: part})
        notes += [f"{file}: {note}" for note in more_notes]
        labels = more_labels if name == "test" else labels
    if labels is not None and len(np.unique(labels)) < 2:
        rows = "normal" if not labels.any() else "anomalies"
        notes.append(f"all test rows are {rows}, so there is no AUROC")
        labels = None
    return Partition(
        splits=splits,
        shape=window_shape((len(encoding.inputs),), request.window),
        inputs=encoding.inputs if table.named or not encoding.whole else (),
        decisions=tuple(notes),
        labels=labels,
        encoding=encoding,
    )


def series_of(table: Table, decisions: Decisions, raw: Raw[Any], request: Request) -> Series:
    """Return what the split of a table depends on: groups, anomalies, and rows that are dropped for missing cells.

    Raises:
        DataError: all rows are dropped.
    """
    dropped = None
    if decisions.missing == "drop":
        places = decisions.places("keep", "one-hot", "cyclic", "label", "group")
        dropped = lost_rows(table.cells, [(place, decisions.columns[place].absent) for place in places])
        if dropped.all():
            raise DataError(f"{request.source}: every row has a missing cell; choose --missing median instead of drop")
    anomalies = None
    for place in decisions.places("label"):
        anomalies = anomalies_of(table, place)
    return Series(
        count=len(table),
        where=request.source,
        files=raw.files,
        groups=groups_of(table, request.source, request, dropped),
        anomalies=anomalies,
        dropped=dropped if dropped is not None and dropped.any() else None,
        times=times_of(table),
    )


def groups_of(table: Table, where: str, request: Request, dropped: Bools | None) -> Integers | None:
    """Return the number of each row's group, ``[N]``; None where rows have no groups.

    Raises:
        DataError: the table lacks their column, or a cell of it is missing in a row that is not ``dropped``.
    """
    group = group_column(request)
    if not group:
        return None
    place = group_place(request, table.names)
    if place is None or place >= len(table.columns):
        raise DataError(f"{where}: lacks column {quoted(repr(group))}, the groups of the model's windows")
    cells = table.cells[:, place]
    if dropped is not None:  # a row of a known group that is dropped stays in it: no window passes over it
        cells = np.where(dropped & np.isnan(cells), np.inf, cells)
    return group_numbers(cells, where, group)


def times_of(table: Table) -> tuple[tuple[str, NDArray[np.float64]], ...]:
    """Return the columns of dates of a table by name, in seconds ``[N]``."""
    return tuple(
        (quoted(column.name) or f"column {place}", table.cells[:, place])
        for place, column in enumerate(table.columns)
        if column.holds == "date"
    )


def filled(encoding: Encoding, series: Series) -> list[str]:
    """Return what is done about missing cells, as clauses."""
    if encoding.missing == "error":
        return []
    if encoding.missing == "drop":
        rows = 0 if series.dropped is None else int(series.dropped.sum())
        return [f"{counted(rows, 'row')} with missing cells left out"] if rows else []
    return [
        f"missing numbers are replaced by the {encoding.missing} of the training rows; a missing text or date "
        "has 0 in all of its inputs"
    ]


def alternating(table: Table, request: Request) -> list[str]:
    """Return, as a clause, that rows of several texts alternate in windows, as those of several machines do."""
    if not request.window or group_column(request):
        return []
    for place, column in enumerate(table.columns):
        changes = np.count_nonzero(np.diff(table.cells[:, place])) if column.holds == "text" else 0
        if 2 * changes > len(table) >= request.window * len(column.texts):
            called = quoted(column.name or str(place))
            return [
                f"windows hold rows of several texts of column {called}, which alternate; --split-by group:{called} "
                "makes them of one each"
            ]
    return []


Given = dict[str, tuple[str, Table]]
"""By the name of a split: what messages call its rows, and the rows."""


def given_rows(raw: Raw[Any], request: Request) -> Given:
    """Read the validation and test rows that have a file of their own, or that came with the others.

    Raises:
        DataError: a file cannot be read.
    """
    given: Given = {}
    for name, file, rows in (
        ("validation", request.validation, raw.validation),
        ("test", request.test, raw.test),
    ):
        if file:
            rows = open_source(file, request.part, request.directory)
        if rows is not None:
            given[name] = (file or f"{request.source} ({name})", rows if isinstance(rows, Table) else unnamed(rows))
    return given


def given_split(
    where: str, table: Table, encoding: Encoding, request: Request, test: bool
) -> tuple[Blocks, Sequence[str], Array | None]:
    """Return the rows of a split that has a table of its own, what to report of them, and the labels of test rows.

    Raises:
        DataError: its columns are not those of the encoding, or a cell is missing that nothing fills.
    """
    inputs, dropped, notes = new_rows(encoding, table, where)
    groups = groups_of(table, where, request, dropped) if request.window else None
    series = Series(count=len(table), where=where, groups=groups, dropped=dropped)
    anomalies = label_rows(encoding, table, where)
    if anomalies is not None and not test:
        dropped = anomalies if dropped is None else dropped | anomalies
        series = replace(series, dropped=dropped)
        notes = (*notes, f"{counted(int(anomalies.sum()), 'anomaly')[:-1]} left out") if anomalies.any() else notes
    rows = taken(inputs, series, request)
    if isinstance(rows, Windows):
        labels = None if anomalies is None else rows.index.counts(anomalies) > 0
    else:
        labels = None if anomalies is None else anomalies if dropped is None else anomalies[~dropped]
    return rows, notes, None if labels is None or not test else labels.astype(np.int8)


def new_rows(encoding: Encoding, table: Table, where: str) -> tuple[Inputs, Bools | None, tuple[str, ...]]:
    """Return the inputs of new rows, which of the rows are left out for missing cells, and what to report of them.

    Raises:
        DataError: as :func:`aecompress.data.inputs.inputs_of` does.
    """
    if encoding.missing != "drop":
        inputs, notes = inputs_of(encoding, table, where)
        return inputs, None, notes
    inputs, notes = checked_inputs(encoding, table, where)
    dropped = inputs.lost
    if not dropped.any():
        return inputs, None, notes
    return inputs, dropped, (*notes, f"{counted(int(dropped.sum()), 'row')} with missing cells left out")


def label_rows(encoding: Encoding, table: Table, where: str) -> Bools | None:
    """Return which rows of a table are anomalies, where it has the column of labels.

    Raises:
        DataError: it is no label.
    """
    if not encoding.label or encoding.label not in table.names:
        return None
    place = table.names.index(encoding.label)
    if fault := label_fault(table, place):
        raise DataError(f"{where}: column {quoted(repr(encoding.label))} (--label) {fault}")
    return anomalies_of(table, place)


def has_inputs(rows: Array | Table | FileRows, encoding: Encoding, inputs: int) -> bool:
    """Return whether rows are an array of the D ``inputs`` of a model already, and not of the columns of its table."""
    if isinstance(rows, Table):
        return False
    width = math.prod(rows.shape[1:])
    return width == inputs and (rows.ndim != 2 or width != encoding.width)


def encoded_rows(raw: Raw[Any], request: Request, encoding: Encoding) -> tuple[Blocks, tuple[str, ...]]:
    """Return the inputs ``[N, D]`` of new rows, or windows of them, as those of the training rows were made.

    Returns:
        The rows, and what to report of them.

    Raises:
        DataError: their columns are not those of the encoding, or a cell is missing that nothing fills.
    """
    table = raw.train if isinstance(raw.train, Table) else unnamed(raw.train)
    inputs, dropped, notes = new_rows(encoding, table, request.source)
    groups = groups_of(table, request.source, request, dropped) if request.window else None
    series = Series(count=len(table), where=request.source, files=raw.files, groups=groups, dropped=dropped)
    return taken(inputs, series, request), notes


def taken(inputs: Inputs, series: Series, request: Request) -> Blocks:
    """Return all rows of a split of its own that are not dropped, or their windows."""
    if request.window or series.dropped is None:
        return whole(inputs, series, request)
    return Chosen(inputs, series.dropped.astype(np.uint8))
