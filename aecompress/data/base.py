"""What passes between the files of this folder: what is requested, what was read, and its three splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aecompress.data.encoding import Encoding

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
Shares = tuple[float, float, float]
"""Of train, validation and test; they add up to 1."""
Kept = TypeVar("Kept")
"""How a kind of data keeps its rows: an array, or sparse rows."""


def print_nothing(line: str) -> None:
    """Print nothing."""


class Part(NamedTuple):
    """What to take from a file."""

    key: str = ""
    """Name of an array in an archive; empty where it holds one."""
    columns: str = ""
    """Columns of CSV rows, by name or number (``0,3-5``); empty: all."""
    header: str = "auto"
    """Whether the first line of CSV names the columns: yes, no, or auto."""


WHOLE = Part()
"""All of a file that holds one array."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The rows to load, and how to split and scale them."""

    source: str = "digits"
    """A name of :data:`~aecompress.registry.SOURCES`, or ``FILE[:key]``."""
    more: tuple[str, ...] = ()
    """Further files, whose rows come after those of ``source``."""
    key: str = ""
    columns: str = ""
    header: str = "auto"
    split: Shares = (0.8, 0.1, 0.1)
    validation: str = ""
    """``FILE[:key]`` with the validation rows; empty: taken from the source."""
    test: str = ""
    """``FILE[:key]`` with the test rows; empty: taken from the source."""
    labels: str = ""
    """``FILE[:key]`` with 0 or 1 (anomaly) for each row of ``test``; empty: none."""
    label: str = ""
    """The column of a table that says which rows are anomalies, kept out of the inputs; empty: none."""
    missing: str = "error"
    """What is done with missing cells of a table: error, drop (the rows), median or mean."""
    dates: str = "error"
    """What is done with columns of dates: error, drop (the columns) or cyclic."""
    categories: str = "one-hot"
    """What is done with columns of few texts: error, drop (the columns) or one-hot."""
    split_by: str = "auto"
    """random, order, ``group:COLUMN`` or file; auto: order for windows, else random."""
    window: int = 0
    """Rows in order that make one row of a series; 0: rows stand alone."""
    stride: int = 1
    """Rows from the start of a window to that of the next."""
    in_memory: str = "auto"
    """yes: all rows are held in memory; no: they are read from their file batch by batch; auto: yes where they fit."""
    scaling: str = "auto"
    """auto, none, minmax or standard."""
    seed: int = 0
    """Of the random split, and of generated sets."""
    directory: Path = Path()
    """What relative paths start from."""
    scratch: Path = Path()
    """Where rows that do not fit memory are written, if they must be converted."""
    report: Callable[[str], None] = field(default=print_nothing, compare=False)
    """Is given lines about what takes long."""

    @property
    def part(self) -> Part:
        """Return what to take from the file of ``source``: of columns, also those of labels and groups, each once."""
        group = self.split_by.partition("group:")[2]
        numbered = group.isdecimal()  # in front, so that its place among the columns is known
        names = [group, self.columns, self.label] if numbered else [self.columns, self.label, group]
        names = names if self.columns else []
        return Part(self.key, ",".join(dict.fromkeys(name for name in names if name)), self.header)


@dataclass(frozen=True, kw_only=True)
class Raw(Generic[Kept]):
    """Rows as read, ``[N, ...]``; some built-in sets bring their own validation and test rows."""

    name: str
    train: Kept
    validation: Kept | None = None
    test: Kept | None = None
    notes: dict[str, float] = field(default_factory=dict)
    """Numbers that a source knows of its rows, for example the flip rate of each split."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs, where they have names: the columns of CSV, the items of interactions."""
    files: tuple[tuple[str, int], ...] = ()
    """Name and rows of each file, in order, where several were read as one."""


class Splits(NamedTuple, Generic[Kept]):
    """Rows ``[N, D]`` of each split; validation and test may have none."""

    train: Kept
    validation: Kept
    test: Kept


@dataclass(frozen=True, kw_only=True)
class Partition(Generic[Kept]):
    """Raw rows in three splits, and what was decided about them."""

    splits: Splits[Kept]
    shape: tuple[int, ...]
    """Of one row; its product is D."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs, where they have names; of windows, those of the values of one of its rows."""
    decisions: tuple[str, ...] = ()
    """What a person must know of it, as clauses."""
    labels: Array | None = None
    """0 or 1 (anomaly) for each test row, where the rows have them."""
    encoding: Encoding | None = None
    """How the columns of a table became inputs."""
