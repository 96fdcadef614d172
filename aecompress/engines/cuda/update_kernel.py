"""Mask, update rule and half-precision copy of the weights in one kernel: each value is read and written once."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.records import cells_of, rule_of
from aecompress.engines.eager import Products
from aecompress.engines.training import Training
from aecompress.population.state import Population

STRETCH = 1024
"""Weights of one block."""


@triton.jit
def update_kernel(cells, gradient, half, step, RULE: tl.constexpr, STRETCH: tl.constexpr):
    """Update a stretch of one cell's weights; ``step`` is its size and epsilon."""
    cell = tl.program_id(1)
    at = tl.program_id(0) * STRETCH + tl.arange(0, STRETCH)
    inside = at < cells.n
    at = cell.to(tl.int64) * cells.n + at
    size, epsilon = tl.load(step[0]) * tl.load(cells.rates + cell), tl.load(step[1])
    grad = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    if RULE.masked:
        grad = tl.where(tl.load(cells.masks + at, mask=inside, other=0) != 0, grad, 0.0)
    weight = tl.load(cells.w + at, mask=inside, other=0.0)
    if RULE.adam:
        first = tl.load(cells.m + at, mask=inside, other=0.0)
        second = tl.load(cells.v + at, mask=inside, other=0.0)
        first = first + (1 - RULE.beta1) * (grad - first)
        second = RULE.beta2 * second + (1 - RULE.beta2) * (grad * grad)
        weight = weight - size * (first / (tl.sqrt(second) + epsilon))
        tl.store(cells.m + at, first, mask=inside)
        tl.store(cells.v + at, second, mask=inside)
    else:
        weight = weight - size * (grad / (tl.abs(grad) + epsilon))
    tl.store(cells.w + at, weight, mask=inside)
    if half is not None:
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
    grid = triton.cdiv(block.weights.shape[1], STRETCH), len(block)
    half, rule = own.weights if own.half else None, rule_of(training)._replace(masked=kept is not None)
    update_kernel[grid](cells_of(block), own.gradient, half, (size, epsilon), RULE=rule, STRETCH=STRETCH, num_warps=4)
