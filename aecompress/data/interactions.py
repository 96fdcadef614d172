"""Interactions: who used what, as 0/1 rows of which only a batch is ever dense."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aecompress.data.base import Floats, Raw, Request, Splits
from aecompress.data.facts import Facts
from aecompress.data.scaling import UNSCALED, Scaling
from aecompress.data.split import draw

PREFIX = "interactions:"
FEW = 512
"""Rows of a sparse set that are made dense where some stand for all: files are verified on them."""


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
        """``(N, D)``."""
        return len(self), self.inputs

    @property
    def size(self) -> int:
        """Values that are held."""
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


Rows = Floats | SparseRows
"""Scaled rows ``[N, D]``."""


def few(rows: Rows) -> Floats:
    """Return dense rows: all of them, or the first of a sparse set."""
    return rows[:FEW] if isinstance(rows, SparseRows) else rows


def split_users(raw: Raw[SparseRows], request: Request) -> Splits[SparseRows]:
    """Split users at random by ``request.seed``; each split keeps the order of the file."""
    users = raw.train
    cuts = np.round(np.cumsum(request.split) * len(users)).astype(int)
    parts = draw(len(users), cuts, request.seed)
    return Splits(*(users.pick(np.flatnonzero(parts == part)) for part in range(3)))


def digest_of(splits: Splits[SparseRows]) -> str:
    """Return the sha256 over the places of the ones of all splits."""
    digest = hashlib.sha256()
    for rows in splits:
        digest.update(rows.starts.tobytes() + rows.places.tobytes())
    return digest.hexdigest()


def unscaled(splits: Splits[SparseRows], request: Request) -> tuple[Scaling, Splits[SparseRows]]:
    """Return the rows as they are: zeros and ones need no scaling."""
    return UNSCALED, splits


def facts_of(train: SparseRows, shape: tuple[int, ...]) -> Facts:
    """Return what "auto" fields depend on."""
    return Facts(
        rows=len(train), inputs=train.inputs, binary=True, unit=True, shape=shape, kind="interactions", sparse=True
    )
