"""Threads for work that lets go of the interpreter's lock: one per core this process may use."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
_here = threading.local()


def cores() -> int:
    """Return the cores this process may use: at most OMP_NUM_THREADS of them, as of torch's own threads."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(limit)) if limit.isdigit() and int(limit) else available


@contextlib.contextmanager
def no_denormals() -> Iterator[None]:
    """Let numbers too small for full precision become 0 in this thread; afterwards restore what was set before.

    Moments of weights without gradient and gradients of saturated units fade to such numbers, for which a processor
    takes a hundred times as long.
    """
    before = float(torch.tensor([1e-40]) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@functools.cache
def pool() -> ThreadPoolExecutor:
    """Return the other cores' threads, started on first use.

    A product in one of them takes that thread alone, as in the thread that calls: torch's setting is of each thread,
    and the last bits of a product depend on how many share it.
    """
    return ThreadPoolExecutor(
        max(cores() - 1, 1), thread_name_prefix="aecompress", initializer=torch.set_num_threads, initargs=(1,)
    )


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``function`` of every item, in order; the cores, this thread's among them, take item after item."""
    if getattr(_here, "at_work", False):  # called from inside: all cores are taken, and waiting for them never ends
        return [function(item) for item in items]
    found: dict[int, Result] = {}
    turn = iter(range(len(items)))

    def work() -> None:
        _here.at_work = True
        try:
            with no_denormals():
                for place in turn:  # taking the next is one step of the interpreter, so no two threads get the same
                    found[place] = function(items[place])
        finally:
            _here.at_work = False

    others = [pool().submit(work) for _ in range(min(cores(), len(items)) - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
    return [found[place] for place in range(len(items))]
