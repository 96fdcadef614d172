"""Mask, update rule and half-precision copy of the weights in one kernel: each value is read and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.eager import Products
from aecompress.engines.training import Training
from aecompress.population.state import Population

STRETCH = 1024
"""Weights of one block."""


@triton.jit
def update_kernel(w, m, v, g, masks, half, rate, size, epsilon, n, B1: tl.constexpr, B2: tl.constexpr,
                  ADAM: tl.constexpr, MASKED: tl.constexpr, HALF: tl.constexpr, STRETCH: tl.constexpr):  # fmt: skip
    """Update a stretch of one cell's weights."""
    cell = tl.program_id(1)
    at = tl.program_id(0) * STRETCH + tl.arange(0, STRETCH)
    inside = at < n
    at = cell.to(tl.int64) * n + at
    step, eps = tl.load(size) * tl.load(rate + cell), tl.load(epsilon)
    grad = tl.load(g + at, mask=inside, other=0.0).to(tl.float32)
    if MASKED:
        grad = tl.where(tl.load(masks + at, mask=inside, other=0) != 0, grad, 0.0)
    weight = tl.load(w + at, mask=inside, other=0.0)
    if ADAM:
        first = tl.load(m + at, mask=inside, other=0.0)
        second = tl.load(v + at, mask=inside, other=0.0)
        first = first + (1 - B1) * (grad - first)
        second = B2 * second + (1 - B2) * (grad * grad)
        weight = weight - step * (first / (tl.sqrt(second) + eps))
        tl.store(m + at, first, mask=inside)
        tl.store(v + at, second, mask=inside)
    else:
        weight = weight - step * (grad / (tl.abs(grad) + eps))
    tl.store(w + at, weight, mask=inside)
    if HALF:
        tl.store(half + at, weight.to(tl.bfloat16), mask=inside)


def fused_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: Tensor, epsilon: Tensor
) -> None:
    """Do the work of :func:`aecompress.engines.eager.masked_update`, to rounding.

    Args:
        block, own: in place; all of it lies contiguously.
        kept: whether to mask: the block's own masks are read.
        size, epsilon: float32 ``[1]``, on the device.
    """
    cells, n = block.weights.shape
    first, second = block.moments if block.moments is not None else (block.weights, block.weights)
    update_kernel[(triton.cdiv(n, STRETCH), cells)](
        block.weights, first, second, own.gradient, block.masks.view(torch.uint8), own.weights, block.learning_rate,
        size, epsilon, n, B1=training.betas[0], B2=training.betas[1], ADAM=training.optimizer == "adam",
        MASKED=kept is not None, HALF=own.half, STRETCH=STRETCH, num_warps=4,
    )  # fmt: skip
