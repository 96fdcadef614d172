"""Rows chosen from an array or a file, of which only a block is ever copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Array
from aecompress.data.file_rows import Stored, in_blocks

BLOCK = 1 << 17
"""Values of a block: as float64 they fit a core's cache."""


class Blocks(Protocol):
    """Rows ``[N, D]`` that are read a block at a time."""

    def __len__(self) -> int:
        """Return N."""
        ...

    @property
    def whole(self) -> Array | None:
        """Return all rows, where they are an array already."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the type of the values."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        ...

    def blocks(self) -> Iterator[Array]:
        """Return the rows in blocks ``[K, D]``, at least one row each."""
        ...


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows ``[N, D]`` of an array or of what is stored elsewhere, in its order."""

    rows: Array | Stored
    parts: NDArray[np.uint8] | None = None
    """Of each row, the number of its part; None: all rows are chosen."""
    part: int = 0
    """The part that is chosen."""

    def __len__(self) -> int:
        return len(self.rows) if self.parts is None else int(np.count_nonzero(self.parts == self.part))

    @property
    def whole(self) -> Array | None:
        """Return the array, where it is one and all of its rows are chosen."""
        return self.rows if self.parts is None and isinstance(self.rows, np.ndarray) else None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the type of the values."""
        return self.rows.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, D)``."""
        return len(self), self.rows.shape[1]

    def blocks(self) -> Iterator[Array]:
        """Return the rows in blocks of about :data:`BLOCK` values: ``[K, D]``, at least one row each."""
        step = max(1, BLOCK // self.rows.shape[1])
        for start in range(0, len(self.rows), step):
            stop = min(start + step, len(self.rows))
            if self.parts is None:
                yield in_blocks(self.rows, start, stop)
                continue
            mine = self.parts[start:stop] == self.part
            if mine.any():
                yield in_blocks(self.rows, start, stop)[mine]
