"""Blocks of rows: made ahead, by threads, while the ones before them are used, and put together as one table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from aecompress.data.sources.limits import check_fits
from aecompress.data.table import Table
from aecompress.errors import DataError

Item = TypeVar("Item")
Made = TypeVar("Made")
AT_ONCE = 2
"""Items that :func:`mapped` works on at once; each may take much memory."""


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield ``items`` in order, of which the next is made while one is used; a fault comes in its place."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def mapped(work: Callable[[Item], Made], items: Iterator[Item]) -> Iterator[Made]:
    """Yield ``work(item)`` of each item in order, of :data:`AT_ONCE` items at once; a fault comes in its place."""
    running: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while True:
            while len(running) < AT_ONCE and (item := next(items, None)) is not None:
                running.append(pool.submit(work, item))
            if not running:
                return
            yield running.popleft().result()


def collected(where: str, tables: Iterator[Table], none: str = "has no rows") -> Table:
    """Return blocks of rows as one table; the columns of the last block hold for all.

    Args:
        none: the fault of a file without rows, in words.

    Raises:
        DataError: there are no rows, or the memory does not hold them.
    """
    cells = bytearray()  # it grows in place: no second copy is held while it does
    last: Table | None = None
    for last in tables:
        cells += last.cells.reshape(-1).view(np.uint8).data
        check_fits(where, len(cells) // 8, 8)
    if last is None or not cells:
        raise DataError(f"{where}: {none}; give at least two")
    rows = np.frombuffer(cells, np.float64).reshape(-1, len(last.columns))
    return Table(cells=rows, columns=last.columns, named=last.named, notes=last.notes)
