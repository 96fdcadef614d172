"""The inputs of a table's rows, computed where they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.data.chosen import BLOCK
from aecompress.data.column_words import MOST_LISTED, counted
from aecompress.data.dates import waves
from aecompress.data.encoding import Doubles, Encoded, Encoding, is_missing
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs ``[N, D]`` of a table's rows: no second copy of the rows is held, only a block's inputs are."""

    cells: Doubles
    """``[N, C]``."""
    encoding: Encoding
    places: tuple[int, ...]
    """Of each column that becomes inputs, its place in ``cells``."""
    texts: tuple[tuple[str, ...], ...]
    """Of each of these, the texts that its cells are places in."""

    @classmethod
    def of(cls, encoding: Encoding, table: Table, places: Sequence[int]) -> Inputs:
        """Return the inputs of a table whose columns at ``places`` are those of the encoding."""
        return cls(table.cells, encoding, tuple(places), tuple(table.columns[place].texts for place in places))

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return len(self.cells), self._plan.width

    @property
    def dtype(self) -> np.dtype[np.float64]:
        """Return the type of the values."""
        return np.dtype(np.float64)

    def read(self, start: int, stop: int) -> Doubles:
        """Return the inputs of the rows from ``start`` to before ``stop``: ``[K, D]``."""
        return self._inputs(self.cells[start:stop])

    def take(self, index: NDArray[np.integer[Any]]) -> Doubles:
        """Return the inputs of the rows ``index`` ``[K]``: ``[K, D]``."""
        return self._inputs(self.cells[index])

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Return which rows ``[N]`` have a missing cell that nothing fills."""
        return lost_rows(self.cells, self.unfilled)

    @property
    def unfilled(self) -> list[tuple[int, Sequence[float]]]:
        """Return the places of the columns that nothing fills, with the values that stand for a missing one."""
        filled = self.encoding.missing in ("median", "mean")
        return [
            (place, column.absent)
            for column, place in zip(self.encoding.columns, self.places, strict=True)
            if not filled or (column.action == "keep" and column.fill is None)
        ]

    @cached_property
    def _plan(self) -> _Plan:
        return _plan_of(self.encoding.columns, self.places, self.texts)

    def _inputs(self, cells: Doubles) -> Doubles:
        plan = self._plan
        inputs = np.zeros((len(cells), plan.width))
        numbers = cells[:, plan.numbers]
        for at, absent in plan.absent:
            numbers[is_missing(numbers[:, at], absent), at] = np.nan
        if plan.fills is not None:
            numbers = np.where(np.isfinite(numbers), numbers, plan.fills)
        inputs[:, plan.numbers_into] = numbers
        if len(plan.texts):
            places = cells[:, plan.texts]
            missing = np.isnan(places)
            into = plan.codes[np.where(missing, 0, places).astype(np.int64) + plan.starts]
            row, column = np.nonzero((into >= 0) & ~missing)
            inputs[row, into[row, column]] = 1
        for place, parts, into_from in plan.dates:
            inputs[:, into_from : into_from + 2 * len(parts)] = waves(cells[:, place], parts)
        return inputs


class _Plan(NamedTuple):
    """Where the inputs of a block of cells come from and go to."""

    width: int
    numbers: Places
    numbers_into: Places
    fills: Doubles | None
    """Of each column of numbers; None where none is filled."""
    absent: list[tuple[int, tuple[float, ...]]]
    """Columns of numbers, by their place among these, with the values that stand for a missing one."""
    texts: Places
    starts: Places
    """Of each column of texts, where its texts begin in ``codes``."""
    codes: Places
    """The input that each text turns on, -1 for none."""
    dates: list[tuple[int, tuple[str, ...], int]]
    """Columns of dates: place, parts, first input."""


def _plan_of(columns: Sequence[Encoded], places: Sequence[int], texts: Sequence[tuple[str, ...]]) -> _Plan:
    firsts = np.cumsum([0, *(len(column.inputs) for column in columns)])
    of = {action: [at for at, column in enumerate(columns) if column.action == action] for action in ACTIONS}
    keep, hot = of["keep"], of["one-hot"]
    codes = [codes_of(columns[at], texts[at], int(firsts[at])) for at in hot]
    fills = [columns[at].fill for at in keep]
    return _Plan(
        width=int(firsts[-1]),
        numbers=np.array([places[at] for at in keep], dtype=np.int64),
        numbers_into=firsts[keep].astype(np.int64) if keep else np.empty(0, np.int64),
        fills=None
        if all(fill is None for fill in fills)
        else np.array([np.nan if fill is None else fill for fill in fills]),
        absent=[(number, columns[at].absent) for number, at in enumerate(keep) if columns[at].absent],
        texts=np.array([places[at] for at in hot], dtype=np.int64),
        starts=np.cumsum([0, *map(len, codes)])[:-1].astype(np.int64),
        codes=np.concatenate(codes) if codes else np.empty(0, np.int64),
        dates=[(places[at], columns[at].parts, int(firsts[at])) for at in of["cyclic"]],
    )


ACTIONS = ("keep", "one-hot", "cyclic")


def codes_of(column: Encoded, texts: Sequence[str], first: int) -> Places:
    """Return the input that each of a table's ``texts`` turns on; -1 for one that the model does not know."""
    known = {text: first + at for at, text in enumerate(column.parts)}
    return np.array([*(known.get(text, -1) for text in texts), -1], dtype=np.int64)


def inputs_of(encoding: Encoding, table: Table, where: str) -> tuple[Inputs, tuple[str, ...]]:
    """Return the inputs of a table, and what to report of them, as :func:`checked_inputs` does; all rows have them.

    Raises:
        DataError: as there, or a cell has no value and nothing fills it.
    """
    inputs, notes = checked_inputs(encoding, table, where)
    check_filled(inputs, where)
    return inputs, notes


def checked_inputs(encoding: Encoding, table: Table, where: str) -> tuple[Inputs, tuple[str, ...]]:
    """Return the inputs of a table whose columns are matched with those of an encoding, and what to report of them.

    Args:
        where: what messages call the table.

    Raises:
        DataError: a column is missing, or holds something else.
    """
    places = matched(encoding, table, where)
    wrong = [
        f"column {called(column)} holds {PLURALS[table.columns[place].holds]}, that of the model "
        f"{PLURALS[column.holds]}"
        for column, place in zip(encoding.columns, places, strict=True)
        if not fits(column, table, place)
    ]
    if wrong:
        raise DataError(f"{where}: {'; '.join(wrong)}; give the same columns that it was trained on")
    table = with_texts(encoding, table, places)
    inputs = Inputs.of(encoding, table, places)
    return inputs, (*unknown_texts(inputs), *ignored(encoding, table))


def rows_of(encoding: Encoding, table: Table, where: str = "rows") -> Doubles:
    """Return the inputs of a table's rows, float64 ``[N, D]``.

    Raises:
        DataError: as :func:`inputs_of` does.
    """
    inputs, _ = inputs_of(encoding, table, where)
    return inputs.read(0, len(inputs))


PLURALS = {"number": "numbers", "boolean": "booleans", "date": "dates", "text": "texts"}


def called(column: Encoded) -> str:
    """Return how a sentence names a column."""
    return quoted(repr(column.name)) if column.name else str(column.place)


def matched(encoding: Encoding, table: Table, where: str) -> tuple[int, ...]:
    """Return the place in a table of each column that becomes inputs.

    Raises:
        DataError: some are missing, or there are no names and another number of columns.
    """
    columns, names = encoding.columns, table.names
    if encoding.named and table.named:
        if lacking := [called(column) for column in columns if column.name not in names]:
            more = f" and {len(lacking) - MOST_LISTED} more" if len(lacking) > MOST_LISTED else ""
            raise DataError(
                f"{where}: lacks {_columns(lacking)} {', '.join(lacking[:MOST_LISTED])}{more} of the model; it has "
                f"{quoted(', '.join(names))}"
            )
        return tuple(names.index(column.name) for column in columns)
    if len(table.columns) == encoding.width:
        return tuple(column.place for column in columns)
    if len(table.columns) == len(columns):
        return tuple(range(len(columns)))
    needed = f" ({quoted(', '.join(map(called, columns)))})" if encoding.named else ""
    raise DataError(
        f"{where}: has {len(table.columns)} columns without names the model knows; it takes {len(columns)}{needed}"
    )


def _columns(several: Sequence[object]) -> str:
    return "column" if len(several) == 1 else "columns"


def fits(column: Encoded, table: Table, place: int) -> bool:
    """Return whether a table's column holds what that of the model did, or nothing."""
    found = table.columns[place].holds
    numbers = ("number", "boolean")
    same = found == column.holds or (found in numbers and column.holds in (*numbers, "text"))
    return same or bool(np.isnan(table.cells[:, place]).all())


def with_texts(encoding: Encoding, table: Table, places: Sequence[int]) -> Table:
    """Return a table whose numbers are texts where the model's column holds texts, as ``7`` among ``7`` and ``7b``."""
    columns, cells = list(table.columns), table.cells
    for column, place in zip(encoding.columns, places, strict=True):
        if column.action == "one-hot" and table.columns[place].holds != "text":
            values, which = np.unique(cells[:, place], return_inverse=True)
            cells = cells.copy()
            cells[:, place] = np.where(np.isnan(table.cells[:, place]), np.nan, which)
            texts = tuple(f"{value:.15g}" for value in values)
            columns[place] = replace(columns[place], holds="text", texts=texts)
    return replace(table, cells=cells, columns=tuple(columns))


def check_filled(inputs: Inputs, where: str) -> None:
    """Refuse cells without a value in columns where nothing fills them.

    Raises:
        DataError: naming the first.
    """
    lost = inputs.lost
    if lost.any():
        row = int(np.argmax(lost))
        place = next(at for at, absent in inputs.unfilled if is_missing(inputs.cells[row : row + 1, at], absent)[0])
        column = inputs.encoding.columns[inputs.places.index(place)]
        raise DataError(
            f"{where}: row {row} has no value in column {called(column)}; leave such rows out, or train with --missing "
            "median, which fills them"
        )


def lost_rows(cells: Doubles, columns: Sequence[tuple[int, Sequence[float]]]) -> NDArray[np.bool_]:
    """Return which rows of ``cells`` ``[N, C]`` have a missing cell in some columns: ``[N]``.

    Args:
        columns: their places, with the values that stand for a missing one.
    """
    lost = np.zeros(len(cells), bool)
    places = [place for place, _ in columns]
    step = max(1, BLOCK // max(1, cells.shape[1]))
    for start in range(0, len(cells), step):
        block = cells[start : start + step]
        lost[start : start + step] = ~np.isfinite(block[:, places]).all(1)
        for place, absent in columns:
            if absent:
                lost[start : start + step] |= np.isin(block[:, place], absent)
    return lost


def unknown_texts(inputs: Inputs) -> tuple[str, ...]:
    """Return of which columns some rows have texts that the training rows lack, a sentence each."""
    notes = []
    for column, place, texts in zip(inputs.encoding.columns, inputs.places, inputs.texts, strict=True):
        if column.action == "one-hot":
            new = codes_of(column, texts, 0)[:-1] < 0
            cells = inputs.cells[:, place]
            counts = np.bincount(cells[~np.isnan(cells)].astype(np.int64), minlength=len(texts))[: len(texts)] * new
            if counts.any():
                some = ", ".join(repr(texts[at]) for at in np.flatnonzero(counts)[:MOST_LISTED])
                notes.append(
                    f"column {called(column)}: {counted(int(counts.sum()), 'row')} with texts that training rows lack "
                    f"({quoted(some)}); all of its inputs are 0 there"
                )
    return tuple(notes)


def ignored(encoding: Encoding, table: Table) -> tuple[str, ...]:
    """Return that a table has columns that the model's table did not have, as one sentence."""
    if not (encoding.named and table.named):
        return ()
    known = {*encoding.others, *(column.name for column in encoding.columns)}
    more = [quoted(repr(name)) for name in table.names if name not in known and name]
    if not more:
        return ()
    others = f" and {len(more) - MOST_LISTED} more" if len(more) > MOST_LISTED else ""
    return (f"{_columns(more)} {', '.join(more[:MOST_LISTED])}{others}: not of the model, ignored",)
