"""The lowest values of each part of each row, without a sort: counted by digits, from the highest of four on.

Kernels take a stretch of one row each; the table says which: first place, end, part and that part's first stretch.
n, parts and passes are numbers of their own, so that one kernel serves all networks.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.replays import replayed
from aecompress.polling import Poll, no_poll
from aecompress.transfer import on_device

STRETCH = 2048
"""Values of a block."""
DIGITS, TURN = 256, 1024
"""Values of a digit; stretches that are looked at together."""


@triton.jit
def sort_key(x):
    """Return 32 bits whose order as unsigned numbers is that of ``x``: both zeros alike, not-a-number last."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    key = bits ^ ((bits >> 31) | -2147483648)
    return tl.where(x != x, -1, key).to(tl.uint32, bitcast=True)


class Scores(NamedTuple):
    """What the kernels read and write."""

    scores: Tensor
    """``[P, n]``."""
    counts: Tensor
    """How many of each part are wanted, ``[P, parts]``."""
    table: Tensor
    """``[stretches, 4]``."""
    seen: Tensor
    """How often each value of each digit was found, ``[4, P, parts, DIGITS]``."""
    ties: Tensor
    """Keys that equal the last one wanted, ``[P, stretches]``."""
    result: Tensor
    """``[P, n]``."""


class Shape(NamedTuple):
    """What is fixed when a kernel is compiled."""

    stretch: int
    digits: int
    turn: int


@triton.jit
def digits_of(given, turn, row, part, parts, SHAPE: tl.constexpr):
    """Return the addresses of a pass's counts of digits."""
    start = ((turn * tl.num_programs(1) + row) * parts + part) * SHAPE.digits
    return given.seen + start + tl.arange(0, SHAPE.digits)


@triton.jit
def passed(given, row, part, parts, passes, SHAPE: tl.constexpr):
    """Return the digits that some passes have found of the last key wanted, and its rank among keys that share them."""
    k = tl.load(given.counts + row * parts + part)
    prefix = k * 0
    place = tl.arange(0, SHAPE.digits)
    for turn in range(passes):
        counts = tl.load(digits_of(given, turn, row, part, parts, SHAPE))
        digit = tl.sum((tl.cumsum(counts, 0) < k).to(tl.int32), 0)
        k -= tl.sum(tl.where(place < digit, counts, 0), 0)
        prefix = prefix * SHAPE.digits + digit
    return prefix.to(tl.uint32, bitcast=True), k


@triton.jit
def stretch_of(given, n, SHAPE: tl.constexpr):
    """Return this block's row, part and that part's first stretch; its places, which are there, and their keys."""
    row, entry = tl.program_id(1), given.table + tl.program_id(0) * 4
    at = tl.load(entry) + tl.arange(0, SHAPE.stretch)
    here = at < tl.load(entry + 1)
    x = tl.load(given.scores + row.to(tl.int64) * n + at, mask=here, other=0.0)
    return row, tl.load(entry + 2), tl.load(entry + 3), at, here, sort_key(x)


@triton.jit(do_not_specialize=["n", "parts", "passes"])
def digits_kernel(given, n, parts, passes, SHAPE: tl.constexpr):
    """Count the next digit of those keys whose higher digits are those of the last one wanted."""
    row, part, _, _, here, key = stretch_of(given, n, SHAPE)
    prefix, _ = passed(given, row, part, parts, passes, SHAPE)
    upper = key >> (24 - 8 * passes)
    here = here & ((upper >> 8) == prefix)
    digit = (upper & (SHAPE.digits - 1)).to(tl.int32)
    found = tl.histogram(digit, SHAPE.digits, mask=here)
    tl.atomic_add(digits_of(given, passes, row, part, parts, SHAPE), found, mask=found > 0, sem="relaxed")


@triton.jit(do_not_specialize=["n", "parts"])
def ties_kernel(given, n, parts, SHAPE: tl.constexpr):
    """Count the keys of the stretch that equal the last one wanted."""
    row, part, _, _, here, key = stretch_of(given, n, SHAPE)
    last, _ = passed(given, row, part, parts, 4, SHAPE)
    equal = here & (key == last)
    tl.store(given.ties + row * tl.num_programs(0) + tl.program_id(0), tl.sum(equal.to(tl.int32), 0))


@triton.jit(do_not_specialize=["n", "parts"])
def mark_kernel(given, n, parts, SHAPE: tl.constexpr):
    """Mark the keys below the last one wanted, and as many of its equals as are wanted, from the first place on."""
    row, part, first, at, here, key = stretch_of(given, n, SHAPE)
    last, k = passed(given, row, part, parts, 4, SHAPE)
    before, mine = 0, tl.program_id(0)
    for begin in range(first, mine, SHAPE.turn):
        other = begin + tl.arange(0, SHAPE.turn)
        before += tl.sum(tl.load(given.ties + row * tl.num_programs(0) + other, mask=other < mine, other=0), 0)
    equal = (here & (key == last)).to(tl.int32)
    rank = before + tl.cumsum(equal, 0) - equal
    goes = (key < last) | ((equal > 0) & (rank < k))
    tl.store(given.result + row.to(tl.int64) * n + at, goes.to(tl.uint8), mask=here)


@functools.lru_cache(maxsize=64)
def table_of(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the stretches of parts that follow each other, int32 ``[stretches, 4]``."""
    entries, start = list[tuple[int, int, int, int]](), 0
    for part, size in enumerate(sizes):
        first = len(entries)
        entries += [
            (begin, min(begin + STRETCH, start + size), part, first) for begin in range(start, start + size, STRETCH)
        ]
        start += size
    return on_device(entries, device, torch.int32).contiguous()


@functools.lru_cache(maxsize=64)
def _counts_of(counts: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """Return how many of each part are wanted, int32 ``[P, parts]``: the same in every prune of the published forms."""
    return on_device(counts, device, torch.int32)


def lowest_of_parts(scores: Tensor, sizes: tuple[int, ...], counts: list[list[int]]) -> Tensor:
    """Return exactly the ``counts[i][j]`` lowest scores of part j of row i, as bool ``[P, n]``.

    Among equal scores the lower index goes first. The same for any number of rows, and without waiting for the device.

    Args:
        scores: float32 ``[P, n]``.
        sizes: of the parts, which follow each other; n together.
        counts: none above its part's size.
    """
    wanted = _counts_of(tuple(map(tuple, counts)), scores.device)
    marked = functools.partial(_lowest, sizes)
    return replayed(("lowest", sizes), marked, no_poll, (scores, wanted))[0]


def _lowest(sizes: tuple[int, ...], poll: Poll, scores: Tensor, counts: Tensor) -> tuple[Tensor]:
    scores, (rows, n), parts = scores.contiguous(), scores.shape, len(sizes)
    table, device = table_of(sizes, scores.device), scores.device
    given = Scores(
        scores=scores,
        counts=counts,
        table=table,
        seen=torch.zeros((4, rows, parts, DIGITS), dtype=torch.int32, device=device),
        ties=torch.empty((rows, len(table)), dtype=torch.int32, device=device),
        result=torch.empty((rows, n), dtype=torch.uint8, device=device),
    )
    grid, shape = (len(table), rows), Shape(STRETCH, DIGITS, TURN)
    for number in range(4):  # digits of a key
        digits_kernel[grid](given, n, parts, number, SHAPE=shape, num_warps=4)
    ties_kernel[grid](given, n, parts, SHAPE=shape, num_warps=4)
    mark_kernel[grid](given, n, parts, SHAPE=shape, num_warps=4)
    return (given.result.view(torch.bool),)
