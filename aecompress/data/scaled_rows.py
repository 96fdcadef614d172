"""Scaled rows that do not fit memory: read, chosen and scaled when they are taken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aecompress.data.base import Floats, Request, Splits
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.file_rows import Stored
from aecompress.data.scaling import Scaling, along, floats
from aecompress.data.spilled import stored_of
from aecompress.data.windows import Windows
from aecompress.errors import DataError
from aecompress.machine import free_bytes, gib, memory_bytes

MOST_MEMORY = 0.5
"""The share of the free memory that rows may take; the rest is for training and for what else the machine does."""
PLACES = 1 << 20
"""Rows whose parts are looked at together where places are counted."""


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """N scaled float32 rows ``[N, D]`` of raw ones that are kept elsewhere, with the methods of an array in use."""

    rows: Stored
    """Raw, ``[M, D]``."""
    scaling: Scaling
    index: NDArray[np.integer[Any]] | None = None
    """Which of them, ``[N]``; None: all."""

    def __len__(self) -> int:
        return len(self.rows) if self.index is None else len(self.index)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return len(self), self.rows.shape[1]

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Return the type of the scaled values."""
        return np.dtype(np.float32)

    @property
    def size(self) -> int:
        """Return the number of values that are held in memory."""
        return 0 if self.index is None else len(self.index)

    def __getitem__(self, which: slice) -> Floats:
        """Return a stretch of rows."""
        first, last, step = which.indices(len(self))
        assert step == 1
        return self.read(first, max(first, last))

    def read(self, start: int, stop: int) -> Floats:
        """Return the rows from ``start`` up to ``stop``."""
        raw = self.rows.read(start, stop) if self.index is None else self.rows.take(self.index[start:stop])
        return self.scaling.apply(Chosen(raw))

    def take(self, index: NDArray[np.integer[Any]]) -> Floats:
        """Return the rows ``index`` (``[K]``), in its order."""
        return self.scaling.apply(Chosen(self.rows.take(index if self.index is None else self.index[index])))

    def pick(self, index: NDArray[np.integer[Any]]) -> ScaledRows:
        """Return the rows ``index`` (``[K]``), which are not read yet."""
        return replace(self, index=index if self.index is None else self.index[index])

    def spread(self, count: int) -> Floats:
        """Return ``count`` of the rows, evenly spaced, or all where there are no more."""
        return self.take(spread(len(self), count))

    def blocks(self) -> Iterator[Floats]:
        """Return the rows in blocks of a bounded size."""
        return cast(Iterator[Floats], Chosen(self).blocks())

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """Return the least and the greatest value."""
        low, high = zip(*((block.min(), block.max()) for block in self.blocks()), strict=True)
        return float(min(low)), float(max(high))

    def min(self) -> float:
        """Return the least value."""
        return self.extremes[0]

    def max(self) -> float:
        """Return the greatest value."""
        return self.extremes[1]

    def mean(self, axis: int | None = None, dtype: DTypeLike = float) -> NDArray[np.float64]:
        """Return the mean of each input ``[D]`` under axis 0, to the last bit that of an array; else of all values."""
        mean = floats(along(np.add, map(floats, self.blocks()))) / len(self)
        return np.asarray(mean if axis == 0 else mean.mean(), dtype=dtype)

    def var(self, axis: int, dtype: DTypeLike = float) -> NDArray[np.float64]:
        """Return the variance of each input ``[D]``."""
        mean = self.mean(axis)
        squares = ((floats(block) - mean) ** 2 for block in self.blocks())
        return np.asarray(floats(along(np.add, squares)) / len(self), dtype=dtype)


def spread(count: int, most: int) -> NDArray[np.integer[Any]]:
    """Return the places of ``most`` of ``count`` rows, evenly spaced, or all where there are no more."""
    some = min(most, count)
    return np.arange(some) * count // max(some, 1)


def places_of(rows: Chosen) -> NDArray[np.integer[Any]] | None:
    """Return which rows are chosen, in order, in the smallest type that holds them; None where all are."""
    if rows.parts is None:
        return None
    places: NDArray[np.integer[Any]] = np.empty(len(rows), np.uint32 if len(rows.rows) < 1 << 32 else np.int64)
    done = 0
    for start in range(0, len(rows.rows), PLACES):
        found = np.flatnonzero(rows.parts[start : start + PLACES] == rows.part)
        places[done : done + len(found)] = found + start
        done += len(found)
    return places


def scaled_rows(rows: Blocks, scaling: Scaling) -> ScaledRows | Floats:
    """Return rows that are scaled when they are taken; those of an array, such as of a small file beside, at once."""
    if isinstance(rows, Windows):
        return ScaledRows(rows, scaling)
    if isinstance(rows, Chosen):
        source = stored_of(rows.rows) or rows.rows
        if not isinstance(source, np.ndarray):
            return ScaledRows(source, scaling, places_of(rows))
    return scaling.apply(rows)


def is_stored(rows: Blocks) -> bool:
    """Return whether rows can be taken one by one without all being in memory."""
    if isinstance(rows, Chosen):
        return not isinstance(rows.rows, np.ndarray) or stored_of(rows.rows) is not None
    return isinstance(rows, Windows)


def stay_stored(splits: Splits[Blocks], request: Request) -> bool:
    """Return whether rows are left where they are, such as in their file, and scaled when they are taken.

    Raises:
        DataError: that is requested and they cannot be, or memory is requested that there is not.
    """
    stored = is_stored(splits.train)
    if request.in_memory == "no":
        if not stored:
            raise DataError(
                f"data.in_memory = 'no': {request.source} has no rows that can be read one by one; "
                "give them as a .npy, CSV, Parquet or Arrow file, or leave out --in-memory"
            )
        return True
    needed = sum(4 * math.prod(rows.shape) for rows in splits)
    if request.in_memory == "yes" and needed > memory_bytes():
        raise DataError(
            f"{request.source}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; "
            + ("leave out --in-memory yes, and rows are read when they are needed" if stored else "give fewer rows")
        )
    return stored and request.in_memory == "auto" and needed > MOST_MEMORY * free_bytes()
