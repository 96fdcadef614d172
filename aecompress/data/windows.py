"""Windows of a series: rows in order that make one row, made block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aecompress.data.base import Array
from aecompress.data.chosen import BLOCK, Chosen
from aecompress.data.file_rows import Stored, in_blocks

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowIndex:
    """Where windows of ``length`` rows start in a series of ``count`` rows."""

    starts: Integers
    """``[M]``, rising: places in ``order``."""
    length: int
    count: int
    order: Integers | None = None
    """``[count]``: the rows, group by group where groups alternate; None: as they are."""

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, chosen: Bools) -> WindowIndex:
        """Return the windows that are ``chosen`` (``[M]``)."""
        return replace(self, starts=self.starts[chosen])

    def counts(self, rows: Bools) -> Integers:
        """Return how many of some rows (``[count]``, of the series) each window holds: ``[M]``."""
        sums = np.concatenate([[0], np.cumsum(rows if self.order is None else rows[self.order])])
        found: Integers = sums[self.starts + self.length] - sums[self.starts]
        return found

    @property
    def covered(self) -> Bools:
        """Return whether each row of the series is in a window: ``[count]``."""
        begun, ended = (np.bincount(at, minlength=self.count + 1) for at in (self.starts, self.starts + self.length))
        inside = np.cumsum(begun - ended)[:-1] > 0
        if self.order is None:
            return inside
        rows = np.empty(self.count, bool)
        rows[self.order] = inside
        return rows


def window_index(segments: Integers, length: int, stride: int) -> WindowIndex:
    """Return the windows that begin at each ``stride``-th row of each segment and end in it.

    Args:
        segments: the segment of each row, ``[N]``: rows of one segment follow one another, even where others stand
            between them.
    """
    count, order = len(segments), None
    borders = np.flatnonzero(np.diff(segments)) + 1
    if len(borders) and len(np.unique(segments)) <= len(borders):
        order = np.argsort(segments, kind="stable")
        borders = np.flatnonzero(np.diff(segments[order])) + 1
    first = np.concatenate([[0], borders]).astype(np.int64)
    sizes = np.diff(first, append=count)
    windows = np.maximum((sizes - length) // stride + 1, 0)
    within = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)
    return WindowIndex(starts=np.repeat(first, windows) + stride * within, length=length, count=count, order=order)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows ``[M, length * C]`` of a series of rows ``[N, C]``, of which only a block is ever copied."""

    rows: Array | Stored
    index: WindowIndex

    def __len__(self) -> int:
        return len(self.index)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the type of the values."""
        return self.rows.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(M, length * C)``."""
        return len(self), self.index.length * self.rows.shape[1]

    @property
    def whole(self) -> None:
        """Return no array: windows are made."""

    @property
    def each(self) -> Chosen:
        """Return the rows that are in a window, each once."""
        return Chosen(self.rows, (~self.index.covered).view(np.uint8), 0)

    def read(self, start: int, stop: int) -> Array:
        """Return the windows from ``start`` up to ``stop``."""
        return self.take(np.arange(start, stop))

    def take(self, index: NDArray[np.integer[Any]]) -> Array:
        """Return the windows ``index`` (``[K]``), in its order: ``[K, length * C]``."""
        places = (self.index.starts[index][:, None] + np.arange(self.index.length)).ravel()
        places = places if self.index.order is None else self.index.order[places]
        block = self.rows[places] if isinstance(self.rows, np.ndarray) else self.rows.take(places)
        return block.reshape(len(index), -1)

    def blocks(self) -> Iterator[Array]:
        """Return the windows in blocks of about :data:`~aecompress.data.chosen.BLOCK` values: ``[K, length * C]``."""
        starts, length, order = self.index.starts, self.index.length, self.index.order
        step = max(1, BLOCK // self.shape[1])
        for first in range(0, len(starts), step):
            some = starts[first : first + step]
            if order is None and some[-1] - some[0] <= 4 * step * length:
                stretch = in_blocks(self.rows, int(some[0]), int(some[-1]) + length)
                block = sliding_window_view(stretch, length, axis=0)[some - some[0]].transpose(0, 2, 1)
            else:
                block = self.take(np.arange(first, first + len(some)))
            yield block.reshape(len(some), -1)
