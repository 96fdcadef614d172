"""Rows on the device: dense tensors, 0/1 rows of which only a batch is ever dense, or rows that are kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class SparseTensor:
    """N rows of D zeros and ones as the places of the ones; ``index_select`` and slices give dense rows."""

    starts: Tensor
    """int64 ``[N + 1]``: row i's ones are at ``places[starts[i]:starts[i + 1]]``."""
    places: Tensor
    """int32 ``[ones]``."""
    inputs: int
    dtype: torch.dtype
    longest: int
    """At least the ones of any row."""

    def __len__(self) -> int:
        return self.starts.shape[0] - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return len(self), self.inputs

    @property
    def device(self) -> torch.device:
        """Return where they are."""
        return self.places.device

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the rows ``index`` (int64 ``[K]``), dense ``[K, D]``."""
        assert dim == 0
        if self.device.type == "cuda":
            return self.padded(index)
        some = self.pick(index)
        dense = torch.zeros((len(some), self.inputs), dtype=self.dtype, device=self.device)
        owners = torch.repeat_interleave(torch.arange(len(some), device=self.device), some.starts.diff())
        dense[owners, some.places] = 1
        return dense

    def padded(self, index: Tensor) -> Tensor:
        """Return the rows ``index``, dense, every row with as many places as the longest: no size depends on the data.

        Where it would, the host waits for the device.
        """
        starts = self.starts[index][:, None]
        at = starts + torch.arange(self.longest, device=self.device)
        places = self.places[at.clamp(max=max(self.places.shape[0] - 1, 0))] if self.places.numel() else at.int()
        columns = torch.where(at < self.starts[index + 1][:, None], places.long(), self.inputs)  # one column too many
        dense = torch.zeros((len(index), self.inputs + 1), dtype=self.dtype, device=self.device)
        return dense.scatter_(1, columns, 1)[:, : self.inputs].contiguous()

    def __getitem__(self, which: slice) -> Tensor:
        return self.index_select(0, torch.arange(*which.indices(len(self)), device=self.device))

    def pick(self, index: Tensor) -> SparseTensor:
        """Return the rows ``index``, sparse."""
        counts = self.starts[index + 1] - self.starts[index]
        starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        within = torch.arange(int(starts[-1]), device=self.device) - starts[:-1].repeat_interleave(counts)
        places = self.places[self.starts[index].repeat_interleave(counts) + within]
        return SparseTensor(starts=starts, places=places, inputs=self.inputs, dtype=self.dtype, longest=self.longest)


class Stored(Protocol):
    """Dense rows ``[N, D]`` that are read when they are taken."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the rows from ``start`` up to ``stop``."""

    def take(self, index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the rows ``index`` (``[K]``), in its order."""

    def pick(self, index: NDArray[np.integer[Any]]) -> Stored:
        """Return the rows ``index``, which are not read yet."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """N rows that do not fit memory; ``index_select`` and slices read some."""

    source: Stored
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return self.source.shape

    @property
    def device(self) -> torch.device:
        """Return where they come to."""
        return torch.device("cpu")

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the rows ``index`` (int64 ``[K]``): ``[K, D]``."""
        assert dim == 0
        return torch.from_numpy(self.source.take(index.numpy())).to(self.dtype)

    def __getitem__(self, which: slice) -> Tensor:
        first, last, step = which.indices(len(self))
        assert step == 1
        return torch.from_numpy(self.source.read(first, max(first, last))).to(self.dtype)

    def pick(self, index: Tensor) -> StoredTensor:
        """Return the rows ``index``, which are not read yet."""
        return replace(self, source=self.source.pick(index.numpy()))


RowSet = Tensor | SparseTensor | StoredTensor
"""``[N, D]``."""


def gather(rows: RowSet, index: Tensor) -> Tensor:
    """Return the rows of an int64 ``index`` of any shape, dense: ``[..., D]``."""
    return rows.index_select(0, index.reshape(-1)).view(*index.shape, -1)


def picked(rows: RowSet, index: Tensor) -> RowSet:
    """Return the rows ``index``, of the same kind."""
    return rows.index_select(0, index) if isinstance(rows, Tensor) else rows.pick(index)


def chunks(rows: RowSet, size: int) -> Iterator[Tensor]:
    """Yield all rows in order, dense, ``size`` at a time."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]
