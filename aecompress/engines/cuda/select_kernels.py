"""The lowest values of each part of each row, without a sort: counted by digits, from the highest of four on.

Kernels take a stretch of one row each; ``table`` says which: first place, end, part and that part's first stretch.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

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


@triton.jit
def passed(seen, k, parts, row, part, passes, DIGITS: tl.constexpr):
    """Return the digits of the k-th lowest key that some passes have found, and k among the keys that share them."""
    prefix = k * 0
    place = tl.arange(0, DIGITS)
    for turn in range(passes):
        counts = tl.load(seen + ((turn * tl.num_programs(1) + row) * parts + part) * DIGITS + place)
        digit = tl.sum((tl.cumsum(counts, 0) < k).to(tl.int32), 0)
        k -= tl.sum(tl.where(place < digit, counts, 0), 0)
        prefix = prefix * DIGITS + digit
    return prefix.to(tl.uint32, bitcast=True), k


@triton.jit
def stretch_of(scores, table, n, STRETCH: tl.constexpr):
    """Return this block's row, part and that part's first stretch; its places, which are there, and their keys."""
    row, entry = tl.program_id(1), table + tl.program_id(0) * 4
    at = tl.load(entry) + tl.arange(0, STRETCH)
    here = at < tl.load(entry + 1)
    x = tl.load(scores + row.to(tl.int64) * n + at, mask=here, other=0.0)
    return row, tl.load(entry + 2), tl.load(entry + 3), at, here, sort_key(x)


@triton.jit(do_not_specialize=["n", "parts", "passes"])
def digits_kernel(scores, counts, table, seen, n, parts, passes, DIGITS: tl.constexpr, STRETCH: tl.constexpr):
    """Count the next digit of those keys whose higher digits are those of the k-th lowest."""
    row, part, _, _, here, key = stretch_of(scores, table, n, STRETCH)
    k = tl.load(counts + row * parts + part)
    prefix, k = passed(seen, k, parts, row, part, passes, DIGITS)
    upper = key >> (24 - 8 * passes)
    here = here & ((upper >> 8) == prefix)
    digit = (upper & (DIGITS - 1)).to(tl.int32)
    found = tl.histogram(digit, DIGITS, mask=here)
    place = tl.arange(0, DIGITS)
    start = seen + ((passes * tl.num_programs(1) + row) * parts + part) * DIGITS
    tl.atomic_add(start + place, found, mask=found > 0, sem="relaxed")


@triton.jit(do_not_specialize=["n", "parts"])
def ties_kernel(scores, counts, table, seen, ties, n, parts, DIGITS: tl.constexpr, STRETCH: tl.constexpr):
    """Count the keys of the stretch that equal the k-th lowest."""
    row, part, _, _, here, key = stretch_of(scores, table, n, STRETCH)
    last, _ = passed(seen, tl.load(counts + row * parts + part), parts, row, part, 4, DIGITS)
    equal = here & (key == last)
    tl.store(ties + row * tl.num_programs(0) + tl.program_id(0), tl.sum(equal.to(tl.int32), 0))


@triton.jit(do_not_specialize=["n", "parts"])
def mark_kernel(result, scores, counts, table, seen, ties, n, parts, DIGITS: tl.constexpr, STRETCH: tl.constexpr,
                TURN: tl.constexpr):  # fmt: skip
    """Mark the keys below the k-th lowest, and as many of its equals as are wanted, from the first place on."""
    row, part, first, at, here, key = stretch_of(scores, table, n, STRETCH)
    last, k = passed(seen, tl.load(counts + row * parts + part), parts, row, part, 4, DIGITS)
    before, mine = 0, tl.program_id(0)
    for begin in range(first, mine, TURN):
        other = begin + tl.arange(0, TURN)
        before += tl.sum(tl.load(ties + row * tl.num_programs(0) + other, mask=other < mine, other=0), 0)
    equal = (here & (key == last)).to(tl.int32)
    rank = before + tl.cumsum(equal, 0) - equal
    goes = (key < last) | ((equal > 0) & (rank < k))
    tl.store(result + row.to(tl.int64) * n + at, goes.to(tl.uint8), mask=here)


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


def lowest_of_parts(scores: Tensor, sizes: tuple[int, ...], counts: list[list[int]]) -> Tensor:
    """Return exactly the ``counts[i][j]`` lowest scores of part j of row i, as bool ``[P, n]``.

    Among equal scores the lower index goes first. The same for any number of rows, and without waiting for the device.

    Args:
        scores: float32 ``[P, n]``.
        sizes: of the parts, which follow each other; n together.
        counts: none above its part's size.
    """
    scores, (rows, n), parts = scores.contiguous(), scores.shape, len(sizes)
    table, device = table_of(sizes, scores.device), scores.device
    wanted = on_device(counts, device, torch.int32)
    seen = torch.zeros((4, rows, parts, DIGITS), dtype=torch.int32, device=device)
    ties = torch.empty((rows, len(table)), dtype=torch.int32, device=device)
    result = torch.empty((rows, n), dtype=torch.uint8, device=device)
    grid, sized = (len(table), rows), {"DIGITS": DIGITS, "STRETCH": STRETCH, "num_warps": 4}
    for number in range(4):  # digits of a key
        digits_kernel[grid](scores, wanted, table, seen, n, parts, number, **sized)
    ties_kernel[grid](scores, wanted, table, seen, ties, n, parts, **sized)
    mark_kernel[grid](result, scores, wanted, table, seen, ties, n, parts, TURN=TURN, **sized)
    return result.view(torch.bool)
