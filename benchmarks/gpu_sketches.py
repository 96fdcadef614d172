"""Triton sketches of what a CUDA engine could be: not part of the package, timed by benchmarks/gpu.py.

fused_update   mask, update rule and half-precision copy in one pass over the weights
whole_pass     one block of the GPU trains one cell for a whole pass: for many cells
split_pass     S blocks train one cell, its weights in registers: for few cells, because all blocks must be resident

The passes know one network only, D-H-L-H-D with relu, sigmoid at the end, loss l1 and the fresh-Adam rule: the paper's.
They are called like the contenders of benchmarks/engine.py and give a pass and a look at its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress import rng
from aecompress.engines.eager import Products
from aecompress.engines.training import Training
from aecompress.evolve.base import Plan
from aecompress.population.state import Population

Contender = tuple[Callable[[], None], Callable[[], Tensor]]
WAITS = 20_000
"""Looks at a counter before a block gives up waiting for the others."""


@triton.jit
def update_kernel(w, g, m, v, masks, half, rate, size, epsilon, n, b1, b2, FRESH: tl.constexpr, MASKED: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip  # noqa: E501
    """Update a stretch of one cell's weights."""
    cell = tl.program_id(1)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    at = cell.to(tl.int64) * n + at
    step = tl.load(size) * tl.load(rate + cell)
    eps = tl.load(epsilon)
    grad = tl.load(g + at, mask=inside, other=0.0).to(tl.float32)
    if MASKED:
        grad = tl.where(tl.load(masks + at, mask=inside, other=0) != 0, grad, 0.0)
    weight = tl.load(w + at, mask=inside, other=0.0)
    if FRESH:
        weight = weight - step * (grad / (tl.abs(grad) + eps))
    else:
        first = tl.load(m + at, mask=inside, other=0.0)
        second = tl.load(v + at, mask=inside, other=0.0)
        first = first + (1 - b1) * (grad - first)
        second = b2 * second + (1 - b2) * (grad * grad)
        weight = weight - step * (first / (tl.sqrt(second) + eps))
        tl.store(m + at, first, mask=inside)
        tl.store(v + at, second, mask=inside)
    tl.store(w + at, weight, mask=inside)
    if HALF:
        tl.store(half + at, weight.to(tl.bfloat16), mask=inside)


def fused_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: Tensor, epsilon: Tensor
) -> None:
    """Do the work of :func:`aecompress.engines.eager.masked_update`; ``size`` and ``epsilon`` are float32 ``[1]``."""
    cells, n = block.weights.shape
    first, second = block.moments if block.moments is not None else (block.weights, block.weights)
    update_kernel[(triton.cdiv(n, 1024), cells)](
        block.weights, own.gradient, first, second, block.masks.view(torch.uint8), own.weights, block.learning_rate,
        size, epsilon, n, training.betas[0], training.betas[1], FRESH=training.optimizer == "fresh-adam",
        MASKED=kept is not None, HALF=own.half, BLOCK=1024, num_warps=4,
    )  # fmt: skip


@triton.jit
def fresh(w, g, rate):
    """Return weights after a step of the fresh-Adam rule."""
    return w - rate * (g / (tl.abs(g) + 1e-8))


@triton.jit
def output_delta(h3, w4, b4, x, here, scale, P: tl.constexpr):
    """Return the gradient of the loss by what comes into the last layer's sigmoid."""
    out = 1.0 / (1.0 + tl.exp(-(tl.dot(h3, w4, input_precision=P) + b4[None, :])))
    sign = tl.where(out > x, 1.0, 0.0) - tl.where(out < x, 1.0, 0.0)
    return tl.where(here, sign * scale * ((1.0 - out) * out), 0.0)


@triton.jit
def whole_kernel(weights, rows, order, rate, n, count, steps, D: tl.constexpr, H: tl.constexpr, L: tl.constexpr,
                 B: tl.constexpr, HP: tl.constexpr, LP: tl.constexpr, BP: tl.constexpr, C: tl.constexpr, P: tl.constexpr):  # fmt: skip  # noqa: E501
    """Train one cell; the first and the last weight are read C inputs at a time and stay in the caches."""
    cell = tl.program_id(0)
    w = weights + cell.to(tl.int64) * n
    lr = tl.load(rate + cell)
    h, z, b, c = tl.arange(0, HP), tl.arange(0, LP), tl.arange(0, BP), tl.arange(0, C)
    B1 = D * H
    W2 = B1 + H
    B2 = W2 + H * L
    W3 = B2 + L
    B3 = W3 + L * H
    W4 = B3 + H
    B4 = W4 + H * D
    at2, in2 = h[:, None] * L + z[None, :], (h[:, None] < H) & (z[None, :] < L)
    at3, in3 = z[:, None] * H + h[None, :], (z[:, None] < L) & (h[None, :] < H)
    w2 = tl.load(w + W2 + at2, mask=in2, other=0.0)
    w3 = tl.load(w + W3 + at3, mask=in3, other=0.0)
    b1 = tl.load(w + B1 + h, mask=h < H, other=0.0)
    b2 = tl.load(w + B2 + z, mask=z < L, other=0.0)
    b3 = tl.load(w + B3 + h, mask=h < H, other=0.0)
    for step in range(steps):
        left = tl.minimum(count - step * B, B)
        there = b < left
        row = tl.load(order + cell.to(tl.int64) * count + step * B + b, mask=there, other=0)
        into = tl.zeros((BP, HP), tl.float32)
        for start in range(0, D, C):
            i = start + c
            x = tl.load(rows + row[:, None] * D + i[None, :], mask=there[:, None] & (i[None, :] < D), other=0.0)
            w1 = tl.load(w + i[:, None] * H + h[None, :], mask=(i[:, None] < D) & (h[None, :] < H), other=0.0)
            into = tl.dot(x, w1, into, input_precision=P)
        h1 = tl.maximum(into + b1[None, :], 0.0)
        h2 = tl.maximum(tl.dot(h1, w2, input_precision=P) + b2[None, :], 0.0)
        h3 = tl.maximum(tl.dot(h2, w3, input_precision=P) + b3[None, :], 0.0)
        back = tl.zeros((BP, HP), tl.float32)
        scale = 1.0 / (left * D).to(tl.float32)
        for start in range(0, D, C):
            i = start + c
            at4, in4 = h[:, None] * D + i[None, :], (h[:, None] < H) & (i[None, :] < D)
            here = there[:, None] & (i[None, :] < D)
            w4 = tl.load(w + W4 + at4, mask=in4, other=0.0)
            b4 = tl.load(w + B4 + i, mask=i < D, other=0.0)
            x = tl.load(rows + row[:, None] * D + i[None, :], mask=here, other=0.0)
            d4 = output_delta(h3, w4, b4, x, here, scale, P)
            back = tl.dot(d4, tl.trans(w4), back, input_precision=P)
            tl.store(w + W4 + at4, fresh(w4, tl.dot(tl.trans(h3), d4, input_precision=P), lr), mask=in4)
            tl.store(w + B4 + i, fresh(b4, tl.sum(d4, 0), lr), mask=i < D)
        d3 = tl.where(h3 > 0, back, 0.0)
        d2 = tl.where(h2 > 0, tl.dot(d3, tl.trans(w3), input_precision=P), 0.0)
        d1 = tl.where(h1 > 0, tl.dot(d2, tl.trans(w2), input_precision=P), 0.0)
        w3 = fresh(w3, tl.dot(tl.trans(h2), d3, input_precision=P), lr)
        b3 = fresh(b3, tl.sum(d3, 0), lr)
        w2 = fresh(w2, tl.dot(tl.trans(h1), d2, input_precision=P), lr)
        b2 = fresh(b2, tl.sum(d2, 0), lr)
        b1 = fresh(b1, tl.sum(d1, 0), lr)
        for start in range(0, D, C):
            i = start + c
            at1, in1 = i[:, None] * H + h[None, :], (i[:, None] < D) & (h[None, :] < H)
            x = tl.load(rows + row[:, None] * D + i[None, :], mask=there[:, None] & (i[None, :] < D), other=0.0)
            w1 = tl.load(w + at1, mask=in1, other=0.0)
            tl.store(w + at1, fresh(w1, tl.dot(tl.trans(x), d1, input_precision=P), lr), mask=in1)
        tl.debug_barrier()
    tl.store(w + W2 + at2, w2, mask=in2)
    tl.store(w + W3 + at3, w3, mask=in3)
    tl.store(w + B1 + h, b1, mask=h < H)
    tl.store(w + B2 + z, b2, mask=z < L)
    tl.store(w + B3 + h, b3, mask=h < H)


@triton.jit
def wait_for_all(counter, target, fault, S: tl.constexpr, LIMIT: tl.constexpr):
    """Wait until every block of the cell has come here; give up after LIMIT looks and set the fault flag."""
    tl.debug_barrier()
    if S > 1:
        tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
        seen = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
        looks = 0
        while (seen < target) & (looks < LIMIT):
            seen = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
            looks += 1
        if looks >= LIMIT:
            tl.store(fault, 1)
        tl.debug_barrier()


@triton.jit
def sum_of_parts(parts, first, tile, S: tl.constexpr, BP: tl.constexpr, HP: tl.constexpr):
    """Return the sum of the blocks' parts, always in the same order."""
    total = tl.zeros((BP, HP), tl.float32)
    for k in tl.static_range(S):
        total += tl.load(parts + first + k * BP * HP + tile, cache_modifier=".cg")
    return total


@triton.jit
def split_kernel(weights, rows, order, rate, up, down, counters, fault, n, count, steps, S: tl.constexpr,
                 D: tl.constexpr, H: tl.constexpr, L: tl.constexpr, B: tl.constexpr, HP: tl.constexpr, LP: tl.constexpr,
                 BP: tl.constexpr, C: tl.constexpr, P: tl.constexpr, LIMIT: tl.constexpr):  # fmt: skip
    """Train C inputs' share of one cell; the blocks of a cell add up their parts twice a step."""
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    w = weights + cell.to(tl.int64) * n
    lr = tl.load(rate + cell)
    h, z, b = tl.arange(0, HP), tl.arange(0, LP), tl.arange(0, BP)
    i = s * C + tl.arange(0, C)
    B1 = D * H
    W2 = B1 + H
    B2 = W2 + H * L
    W3 = B2 + L
    B3 = W3 + L * H
    W4 = B3 + H
    B4 = W4 + H * D
    at1, in1 = i[:, None] * H + h[None, :], (i[:, None] < D) & (h[None, :] < H)
    at2, in2 = h[:, None] * L + z[None, :], (h[:, None] < H) & (z[None, :] < L)
    at3, in3 = z[:, None] * H + h[None, :], (z[:, None] < L) & (h[None, :] < H)
    at4, in4 = h[:, None] * D + i[None, :], (h[:, None] < H) & (i[None, :] < D)
    w1 = tl.load(w + at1, mask=in1, other=0.0)
    w2 = tl.load(w + W2 + at2, mask=in2, other=0.0)
    w3 = tl.load(w + W3 + at3, mask=in3, other=0.0)
    w4 = tl.load(w + W4 + at4, mask=in4, other=0.0)
    b1 = tl.load(w + B1 + h, mask=h < H, other=0.0)
    b2 = tl.load(w + B2 + z, mask=z < L, other=0.0)
    b3 = tl.load(w + B3 + h, mask=h < H, other=0.0)
    b4 = tl.load(w + B4 + i, mask=i < D, other=0.0)
    tile = b[:, None] * HP + h[None, :]
    first, mine = cell * S * BP * HP, (cell * S + s) * BP * HP
    left = tl.minimum(count, B)
    row = tl.load(order + cell.to(tl.int64) * count + b, mask=b < left, other=0)
    x = tl.load(rows + row[:, None] * D + i[None, :], mask=(b[:, None] < left) & (i[None, :] < D), other=0.0)
    for step in range(steps):
        left = tl.minimum(count - step * B, B)
        tl.store(up + mine + tile, tl.dot(x, w1, input_precision=P))
        after = tl.minimum(count - (step + 1) * B, B)  # the next rows are on their way while the blocks wait
        row = tl.load(order + cell.to(tl.int64) * count + (step + 1) * B + b, mask=b < after, other=0)
        later = tl.load(rows + row[:, None] * D + i[None, :], mask=(b[:, None] < after) & (i[None, :] < D), other=0.0)
        wait_for_all(counters + cell, (2 * step + 1) * S, fault, S, LIMIT)
        h1 = tl.maximum(sum_of_parts(up, first, tile, S, BP, HP) + b1[None, :], 0.0)
        h2 = tl.maximum(tl.dot(h1, w2, input_precision=P) + b2[None, :], 0.0)
        h3 = tl.maximum(tl.dot(h2, w3, input_precision=P) + b3[None, :], 0.0)
        here = (b < left)[:, None] & (i[None, :] < D)
        d4 = output_delta(h3, w4, b4, x, here, 1.0 / (left * D).to(tl.float32), P)
        tl.store(down + mine + tile, tl.dot(d4, tl.trans(w4), input_precision=P))
        w4 = fresh(w4, tl.dot(tl.trans(h3), d4, input_precision=P), lr)
        b4 = fresh(b4, tl.sum(d4, 0), lr)
        wait_for_all(counters + cell, (2 * step + 2) * S, fault, S, LIMIT)
        d3 = tl.where(h3 > 0, sum_of_parts(down, first, tile, S, BP, HP), 0.0)
        d2 = tl.where(h2 > 0, tl.dot(d3, tl.trans(w3), input_precision=P), 0.0)
        d1 = tl.where(h1 > 0, tl.dot(d2, tl.trans(w2), input_precision=P), 0.0)
        w3 = fresh(w3, tl.dot(tl.trans(h2), d3, input_precision=P), lr)
        b3 = fresh(b3, tl.sum(d3, 0), lr)
        w2 = fresh(w2, tl.dot(tl.trans(h1), d2, input_precision=P), lr)
        b2 = fresh(b2, tl.sum(d2, 0), lr)
        b1 = fresh(b1, tl.sum(d1, 0), lr)
        w1 = fresh(w1, tl.dot(tl.trans(x), d1, input_precision=P), lr)
        x = later
    tl.store(w + at1, w1, mask=in1)
    tl.store(w + W4 + at4, w4, mask=in4)
    tl.store(w + B4 + i, b4, mask=i < D)
    if s == 0:
        tl.store(w + W2 + at2, w2, mask=in2)
        tl.store(w + W3 + at3, w3, mask=in3)
        tl.store(w + B1 + h, b1, mask=h < H)
        tl.store(w + B2 + z, b2, mask=z < L)
        tl.store(w + B3 + h, b3, mask=h < H)


def sizes_of(plan: Plan) -> dict[str, int]:
    """Return the passes' sizes: the network's, the batch's, and those rounded up to what a matrix unit takes."""
    D, H, L = plan.net.layers[0].inputs, plan.net.layers[0].outputs, plan.net.latent
    up = {name: max(16, triton.next_power_of_2(size)) for name, size in (("HP", H), ("LP", L))}
    return {"D": D, "H": H, "L": L, "B": plan.training.batch, "BP": 16, **up}


def whole_pass(case: Any, plan: Plan, start: Population, rows: Tensor) -> Contender:
    """Make passes of one block a cell; the setting is the fastest of those tried on an H100."""
    weights, count = start.weights.clone(), len(rows)
    order = rng.permutation(plan.training.seed, "batches", 0, start.cells, 0, count)

    def run() -> None:
        whole_kernel[(case.cells,)](
            weights, rows, order, start.learning_rate, plan.net.layout.size, count, count // case.batch,
            **sizes_of(plan), C=64, P="tf32x3", num_warps=4,
        )  # fmt: skip

    return run, lambda: weights


def split_pass(case: Any, plan: Plan, start: Population, rows: Tensor) -> Contender:
    """Make passes of S blocks a cell, 64 inputs each; reading the weights raises where the blocks did not meet.

    On a CPU, where Triton's interpreter runs one block after the other, S is 1.
    """
    sizes, count = sizes_of(plan), len(rows)
    C = 64 if rows.is_cuda else triton.next_power_of_2(sizes["D"])
    S = triton.cdiv(sizes["D"], C)
    weights = start.weights.clone()
    order = rng.permutation(plan.training.seed, "batches", 0, start.cells, 0, count)
    up, down = (weights.new_full((case.cells * S * sizes["BP"] * sizes["HP"],), torch.nan) for _ in range(2))
    counters, fault = (torch.zeros(size, dtype=torch.int32, device=rows.device) for size in (case.cells, 1))

    def run() -> None:
        counters.zero_()
        split_kernel[(case.cells * S,)](
            weights, rows, order, start.learning_rate, up, down, counters, fault, plan.net.layout.size, count,
            count // case.batch, S=S, **sizes, C=C, P="ieee", LIMIT=WAITS, num_warps=4,
        )  # fmt: skip

    def checked() -> Tensor:
        if int(fault):
            raise RuntimeError("the blocks of a cell did not meet: more of them than the device holds at once")
        return weights

    return run, checked
