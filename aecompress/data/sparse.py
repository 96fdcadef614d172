"""Rows of which only a batch is ever dense or in memory: zeros and a few ones, or rows of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aecompress.data.base import Floats
from aecompress.data.scaled_rows import ScaledRows

FEW = 512
"""Rows of a sparse set that are made dense where some stand for all: files are verified on them."""
FEW_VALUES = 1 << 20
"""Values of rows that stand for very many, such as those of a file which does not fit memory."""
MOST_VALUES = 1 << 23
"""Values of rows in memory up to which files are verified on all of them."""


@dataclass(frozen=True)
class SparseRows:
    """N rows of D zeros and ones, kept as the places of the ones, with the methods of an array that are needed."""

    starts: NDArray[np.int64]
    """``[N + 1]``: row i's ones are at ``places[starts[i]:starts[i + 1]]``."""
    places: NDArray[np.int32]
    inputs: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return len(self), self.inputs

    @property
    def size(self) -> int:
        """Return the number of values that are held."""
        return len(self.places) + len(self.starts)

    def __getitem__(self, which: slice) -> Floats:
        """Return a stretch of rows, dense."""
        first, last, step = which.indices(len(self))
        assert step == 1
        rows = np.zeros((max(last - first, 0), self.inputs), dtype=np.float32)
        counts = np.diff(self.starts[first : last + 1])
        rows[np.repeat(np.arange(len(rows)), counts), self.places[self.starts[first] : self.starts[last]]] = 1
        return rows

    def pick(self, index: NDArray[np.int64]) -> SparseRows:
        """Return the rows ``index`` (``[K]``), sparse."""
        counts = self.starts[index + 1] - self.starts[index]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return SparseRows(starts, self.places[np.repeat(self.starts[index], counts) + within], self.inputs)

    def mean(self, axis: int | None = None, dtype: DTypeLike = float) -> NDArray[np.float64]:
        """Return the share of ones: of each input ``[D]`` under axis 0, else of all values."""
        share = np.bincount(self.places, minlength=self.inputs) / max(len(self), 1)
        return np.asarray(share if axis == 0 else share.mean(), dtype=dtype)

    def var(self, axis: int, dtype: DTypeLike = float) -> NDArray[np.float64]:
        """Return the variance of each input ``[D]``: p (1 - p) of zeros and ones with the share p of ones."""
        share = self.mean(axis, dtype)
        return share * (1 - share)

    def min(self) -> float:
        """Return the least value that a row may hold."""
        return 0.0

    def max(self) -> float:
        """Return the greatest value that a row may hold."""
        return 1.0


Rows = Floats | SparseRows | ScaledRows
"""Scaled rows ``[N, D]``."""


def few(rows: Rows) -> Floats:
    """Return dense rows: all of them, the first of a sparse set, or some spread over those of a file."""
    if isinstance(rows, ScaledRows):
        return rows.spread(max(FEW, FEW_VALUES // rows.shape[1]))
    return rows[:FEW] if isinstance(rows, SparseRows) else rows


def sample(rows: Rows) -> Floats:
    """Return what :func:`few` does; of very many rows of an array also some, spread over all."""
    if isinstance(rows, np.ndarray) and rows.size > MOST_VALUES:
        count = max(FEW, FEW_VALUES // rows.shape[1])
        some: Floats = rows[np.arange(count) * len(rows) // count]
        return some
    return few(rows)


def whole(rows: Rows) -> Floats:
    """Return all rows in memory, dense; of a sparse set the first."""
    return rows[:] if isinstance(rows, ScaledRows) else few(rows)
