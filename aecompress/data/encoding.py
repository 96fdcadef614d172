"""The inputs of a model made of the columns of a table, the same for the rows it was trained on and for new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.advice import command_of, names_or_numbers
from aecompress.data.base import Request
from aecompress.data.column_words import Action
from aecompress.data.columns import Decisions
from aecompress.data.dates import varying
from aecompress.data.table import Holds, Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

Doubles = NDArray[np.float64]
CONFIG = Path("config.json")


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One column of a table as the inputs it becomes."""

    name: str
    """Empty where the table has no names."""
    place: int
    """Number of the column in the table that was trained on."""
    holds: Holds = "number"
    action: Action = "keep"
    fill: float | None = None
    """What a missing number is replaced by, from training rows; None: it is refused."""
    absent: tuple[float, ...] = ()
    """Numbers that stand for a missing one."""
    parts: tuple[str, ...] = ()
    """The texts that became inputs, sorted; of a date, names of :data:`~aecompress.data.dates.PARTS`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs that it becomes."""
        name = self.name or str(self.place)
        if self.action == "one-hot":
            return tuple(f"{name}={text}" for text in self.parts)
        if self.action == "cyclic":
            return tuple(f"{name}.{part}.{wave}" for part in self.parts for wave in ("sin", "cos"))
        return (name,)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the columns of a table become inputs; fitted on training rows."""

    columns: tuple[Encoded, ...]
    """Those that become inputs, in order."""
    width: int
    """Columns of the table that was trained on."""
    named: bool
    """Whether new rows are matched by the names of their columns; else by place."""
    missing: str = "error"
    """What was done with missing cells: error, drop, median or mean."""
    label: str = ""
    """The column that names the rows that are anomalies."""
    others: tuple[str, ...] = ()
    """Names of the columns that were left out: new rows may have them."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the D inputs."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def whole(self) -> bool:
        """Return whether the columns of the table are the inputs, in order."""
        return len(self.columns) == self.width and all(column.action == "keep" for column in self.columns)

    @property
    def plain(self) -> bool:
        """Return whether the cells of the table are the inputs: nothing is filled in."""
        return self.whole and all(column.fill is None for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values; fields at their default are left out."""
        return {
            "columns": [
                {key: value for key, value in asdict(column).items() if key in ("name", "place") or value or value == 0}
                for column in self.columns
            ],
            "width": self.width,
            "named": self.named,
            "missing": self.missing,
            "label": self.label,
            "others": list(self.others),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any], path: Path = CONFIG) -> Encoding:
        """Return the encoding that :meth:`to_json` wrote.

        Args:
            path: the file that it comes from, for messages.

        Raises:
            DataError: it is not one.
        """
        try:
            return Encoding(
                columns=tuple(map(_read, values["columns"])),
                width=int(values["width"]),
                named=bool(values["named"]),
                missing=str(values["missing"]),
                label=str(values["label"]),
                others=tuple(map(str, values["others"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
            raise DataError(f"{path}: columns: is not what aecompress writes ({quoted(fault)})") from fault


def command_without(encoding: Encoding | None, request: Request, inputs: Sequence[int]) -> str:
    """Return the command line that leaves the columns of some ``inputs`` out; empty where none does."""
    if encoding is None:
        return ""
    names = [encoding.inputs[one % len(encoding.inputs)] for one in inputs]
    left = [column for column in encoding.columns if not set(column.inputs) & set(names)]
    if not left:
        return ""
    columns = names_or_numbers([column.name for column in left], [column.place for column in left], request)
    return command_of(request, {"--columns": columns})


def _read(column: Mapping[str, Any]) -> Encoded:
    """Return a column that :meth:`Encoding.to_json` wrote."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in column.items()}
    return Encoded(**values)


def fit(table: Table, decisions: Decisions, train: NDArray[np.bool_]) -> Encoding:
    """Return how the columns become inputs: fill values, texts and parts of dates of the training rows alone.

    Args:
        train: which rows are training rows, ``[N]``.

    Raises:
        DataError: a column that is to be filled has no value in them.
    """
    columns = []
    for place in decisions.places("keep", "one-hot", "cyclic"):
        column, decision = table.columns[place], decisions.columns[place]
        one = Encoded(
            name=column.name if table.named else "",
            place=place,
            holds=column.holds,
            action=decision.action,
            absent=decision.absent,
        )
        columns.append(_fitted(one, table, train, decisions.missing))
    names = table.names
    labels = decisions.places("label")
    return Encoding(
        columns=tuple(columns),
        width=len(table.columns),
        named=table.named and all(names) and len(set(names)) == len(names),
        missing=decisions.missing,
        label=names[labels[0]] if labels else "",
        others=tuple(names[place] for place in decisions.places("leave out", "label", "group") if names[place]),
    )


def _fitted(column: Encoded, table: Table, train: NDArray[np.bool_], missing: str) -> Encoded:
    """Return a column with what was fitted on the training rows."""
    if column.action == "keep" and missing not in ("median", "mean"):
        return column
    values = table.cells[train, column.place]
    values = values[~is_missing(values, column.absent)]
    known = {key: value for key, value in asdict(column).items() if key not in ("parts", "fill")}
    if column.action == "cyclic":
        return Encoded(**known, parts=varying(values))
    if column.action == "one-hot":
        texts = table.columns[column.place].texts
        return Encoded(**known, parts=tuple(sorted(texts[int(place)] for place in np.unique(values))))
    if not len(values):
        name = quoted(repr(column.name)) if column.name else str(column.place)
        raise DataError(f"column {name} has no value in the training rows to fill from; leave it out (--columns)")
    return Encoded(**known, fill=float(np.median(values) if missing == "median" else np.mean(values)))


def is_missing(values: Doubles, absent: Sequence[float]) -> NDArray[np.bool_]:
    """Return which values are missing: NaN, infinite, or one that stands for a missing value."""
    lost = ~np.isfinite(values)
    for value in absent:
        lost |= values == value
    return lost
