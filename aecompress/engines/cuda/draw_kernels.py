"""The draws of :mod:`aecompress.rng` in one launch each, with the same bits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

STRETCH = 1024
"""Words of a block."""


@triton.jit
def mixed(z):
    """Return SplitMix64's finaliser of words, unsigned."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit(do_not_specialize=["key", "size"])
def draw_kernel(out, cells, key: tl.int64, size, UNIFORM: tl.constexpr, STRETCH: tl.constexpr):
    """Draw a stretch of one cell's words, or of its uniform numbers."""
    row = tl.program_id(1)
    at = tl.program_id(0) * STRETCH + tl.arange(0, STRETCH)
    cell = tl.load(cells + row).to(tl.uint64, bitcast=True)
    start = mixed(mixed(cell + 1) ^ key.to(tl.uint64, bitcast=True))
    words = mixed(start + (at + 1).to(tl.uint64) * 0x9E3779B97F4A7C15)
    place = out + row.to(tl.int64) * size + at
    if UNIFORM:
        tl.store(place, (words >> 40).to(tl.float32) * 5.9604644775390625e-08, mask=at < size)  # 2 ** -24
    else:
        tl.store(place, words.to(tl.int64, bitcast=True), mask=at < size)


def drawn(key: int, cells: Tensor, size: int, kind: torch.dtype) -> Tensor:
    """Return ``size`` draws of each cell: words as int64, or uniform numbers in [0, 1) as float32, ``[P, size]``."""
    out = torch.empty((len(cells), size), dtype=kind, device=cells.device)
    if out.numel():
        grid = (triton.cdiv(size, STRETCH), len(cells))
        draw_kernel[grid](
            out, cells.contiguous(), key, size, UNIFORM=kind == torch.float32, STRETCH=STRETCH, num_warps=4
        )
    return out
