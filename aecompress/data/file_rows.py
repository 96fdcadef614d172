"""Rows of a file, of which only those that are taken come into memory."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aecompress.data.base import Array
from aecompress.errors import DataError

CAN_READ_AT = hasattr(os, "preadv")
"""Whether this system reads a file at a place without a position that threads would share."""
CAN_READ_AHEAD = hasattr(os, "posix_fadvise")
NEAR = 1 << 12
"""Bytes between two rows up to which they are read at once, as what lies between them takes less than another call."""
SPAN = 4 << 20
"""Bytes that are read at once at most where rows are taken one by one."""


class Stored(Protocol):
    """Rows that are not all in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return ``(N, ...)``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the values."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from ``start`` up to ``stop``."""

    def take(self, index: NDArray[np.integer[Any]]) -> Array:
        """Return the rows ``index`` (``[K]``), in its order."""


class Handle:
    """An open file, closed when nothing reads it any more, and what it was when it was opened."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, self.number)
        self.was = self._state()

    @classmethod
    def opened(cls, path: Path) -> Handle:
        """Open a file.

        Raises:
            OSError: it cannot be opened.
        """
        return cls(os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))

    @classmethod
    def of(cls, number: int) -> Handle:
        """Return another handle of a file that is open."""
        return cls(os.dup(number))

    def _state(self) -> tuple[int, int]:
        now = os.fstat(self.number)
        return now.st_size, now.st_mtime_ns

    @property
    def size(self) -> int:
        """Return its bytes."""
        return self.was[0]

    @property
    def unchanged(self) -> bool:
        """Return whether it is as it was."""
        return self._state() == self.was


@dataclass(frozen=True, eq=False)
class FileRows:
    """Rows ``[N, ...]`` that lie one after the other in a file.

    Reading raises DataError where the file has changed since it was opened, or cannot be read.
    """

    path: Path
    offset: int
    """Bytes before the first row."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    handle: Handle

    @classmethod
    def of(cls, path: Path, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> FileRows:
        """Return the rows of a file.

        Raises:
            DataError: it has fewer bytes than they take.
            OSError: it cannot be opened.
        """
        rows = cls(path, offset, shape, np.dtype(dtype), Handle.opened(path))
        if rows.handle.size < offset + len(rows) * rows.width:
            raise DataError(f"{path}: has {rows.handle.size} bytes, too few for rows of shape {shape}")
        return rows

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Return the bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def flat(self) -> FileRows:
        """Return the same rows as ``[N, D]``."""
        return replace(self, shape=(len(self), math.prod(self.shape[1:])))

    def __getitem__(self, which: slice) -> FileRows:
        """Return a stretch of them, which is not read yet."""
        first, last, step = which.indices(len(self))
        assert step == 1
        count = max(last - first, 0)
        return replace(self, offset=self.offset + first * self.width, shape=(count, *self.shape[1:]))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return all of them in memory."""
        rows = self.read(0, len(self))
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from ``start`` up to ``stop``."""
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._fill(_bytes(rows), start)
        self._check()
        return rows

    def take(self, index: NDArray[np.integer[Any]]) -> Array:
        """Return the rows ``index`` (``[K]``), in its order; those that lie near each other are read at once."""
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        if not len(index):
            return rows
        order = np.argsort(index, kind="stable")
        places = index[order].astype(np.int64)
        apart = np.diff(places * self.width) - self.width > NEAR
        apart |= np.diff(places * self.width // SPAN) > 0
        cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(places)]
        into, width, where, to = _bytes(rows), self.width, places.tolist(), order.tolist()
        number, offset = self.handle.number, self.offset
        stretches = list(itertools.pairwise(cuts))
        self._announce([(where[first], where[last - 1] + 1) for first, last in stretches])
        for first, last in stretches:
            if last - first == 1:
                target, place = into[to[first] * width : (to[first] + 1) * width], where[first]
                with contextlib.suppress(OSError):  # which is reported below
                    if os.preadv(number, [target], offset + place * width) == width:
                        continue
                self._fill(target, place)
            else:
                start = where[first]
                some = np.empty((where[last - 1] + 1 - start, *self.shape[1:]), self.dtype)
                self._fill(_bytes(some), start)
                rows[order[first:last]] = some[places[first:last] - start]
        self._check()
        return rows

    def _announce(self, stretches: list[tuple[int, int]]) -> None:
        """Let the system read stretches of rows ahead, many at once, where it can: a disk is several times as fast."""
        width, offset, number = self.width, self.offset, self.handle.number
        if CAN_READ_AHEAD and len(stretches) > 1:
            with contextlib.suppress(OSError):
                for start, stop in stretches:
                    os.posix_fadvise(number, offset + start * width, (stop - start) * width, os.POSIX_FADV_WILLNEED)

    def _fill(self, target: memoryview, start: int) -> None:
        """Read as many bytes as ``target`` has, from row ``start`` on."""
        place, done, number = self.offset + start * self.width, 0, self.handle.number
        try:
            while done < len(target):
                count = os.preadv(number, [target[done:] if done else target], place + done)
                if not count:
                    break
                done += count
        except OSError as fault:
            raise DataError(f"{self.path}: cannot be read ({fault.strerror}); check the disk it is on") from fault
        if done < len(target):
            raise self._changed()

    def _check(self) -> None:
        if not self.handle.unchanged:
            raise self._changed()

    def _changed(self) -> DataError:
        return DataError(f"{self.path}: was changed while its rows were read; leave it as it is and start again")


def _bytes(rows: Array) -> memoryview:
    return rows.reshape(-1).view(np.uint8).data


def in_blocks(rows: Array | Stored, start: int, stop: int) -> Array:
    """Return the rows from ``start`` up to ``stop``, wherever they are kept."""
    return rows[start:stop] if isinstance(rows, np.ndarray) else rows.read(start, stop)
