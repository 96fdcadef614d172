"""Blocks that are made ahead, by threads, while the ones before them are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
