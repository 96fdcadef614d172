"""A training step of a narrow plain network in three launches: S blocks a cell, C of its inputs each.

up_kernel     the first layer's products, block by block
down_kernel   the layers between the ends, the last one with its loss, its update, and the products on the way back
back_kernel   the gradients between the ends and the update of all but the last layer

RULE and NET are as :mod:`aecompress.engines.cuda.pieces` has them; the other arguments are those of
:mod:`aecompress.engines.cuda.pass_kernels`, but that ``tables`` are those of a pass, ``[2, of]``, and
place      the next step of the pass and the one that is made, int64 ``[1]`` each: a launch writes what it does not read
scratch    products up and down ``[P, S, BP, W]``; what the first K - 1 layers gave, ``[P, K - 1, BP, W]``; the weights
           between the ends before the step, ``[P, K - 2, W, W]``

P is how exact the products going up and at the last layer are; the others are plain. No product has 64 rows, so that
none of shorter numbers becomes one of a warp group (:data:`aecompress.engines.cuda.passes.SAFE_ROWS`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.pass_kernels import batch_of, row_of
from aecompress.engines.cuda.passes import PLAIN, Form, chain_of, step_form
from aecompress.engines.cuda.pieces import (
    accumulate,
    accumulate_middle,
    backward_middle,
    count_batch,
    forward_middle,
    last_delta,
    load_middle,
    load_three,
    step_middle,
    step_three,
    store_middle,
    store_three,
)
from aecompress.engines.cuda.steps import Buffers


@triton.jit
def sum_of_blocks(parts, cell, B: tl.constexpr, BP: tl.constexpr, W: tl.constexpr, S: tl.constexpr):
    """Return the sum of the cell's blocks' products, always in the same order."""
    b, c = tl.arange(0, BP)[:, None], tl.arange(0, W)[None, :]
    total = tl.zeros((BP, W), tl.float32)
    for s in tl.static_range(S):
        total += tl.load(parts + (cell * S + s) * BP * W + b * W + c, mask=b < B, other=0.0)
    return total


@triton.jit
def store_outs(outs, into, cell, BP: tl.constexpr, NET: tl.constexpr):
    """Write what the first K - 1 layers gave."""
    tile = tl.arange(0, BP)[:, None] * NET[2] + tl.arange(0, NET[2])[None, :]
    for k in tl.static_range(NET[3] - 1):
        tl.store(into + (cell * (NET[3] - 1) + k) * BP * NET[2] + tile, outs[k])


@triton.jit
def load_outs(given, cell, BP: tl.constexpr, NET: tl.constexpr):
    """Read what :func:`store_outs` wrote."""
    tile = tl.arange(0, BP)[:, None] * NET[2] + tl.arange(0, NET[2])[None, :]
    outs = (tl.load(given + cell * (NET[3] - 1) * BP * NET[2] + tile),)
    for k in tl.static_range(1, NET[3] - 1):
        outs = outs + (tl.load(given + (cell * (NET[3] - 1) + k) * BP * NET[2] + tile),)
    return outs


@triton.jit
def store_copy(middle, into, cell, NET: tl.constexpr):
    """Write the weights between the ends."""
    tile = tl.arange(0, NET[2])[:, None] * NET[2] + tl.arange(0, NET[2])[None, :]
    for k in tl.static_range(1, NET[3] - 1):
        tl.store(into + (cell * (NET[3] - 2) + k - 1) * NET[2] * NET[2] + tile, middle[0][k][0])


@triton.jit
def load_copy(given, cell, NET: tl.constexpr):
    """Read what :func:`store_copy` wrote, in the form of :func:`aecompress.engines.cuda.pieces.load_middle`."""
    tile = tl.arange(0, NET[2])[:, None] * NET[2] + tl.arange(0, NET[2])[None, :]
    weights = (0.0,)
    for k in tl.static_range(1, NET[3] - 1):
        weights = weights + ((tl.load(given + (cell * (NET[3] - 2) + k - 1) * NET[2] * NET[2] + tile),),)
    return (weights,)


@triton.jit
def up_kernel(w, rows, order, place, scratch, n, N, NET: tl.constexpr, P: tl.constexpr, B: tl.constexpr,
              BP: tl.constexpr, C: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Multiply C inputs of a cell's batch by their weights of the first layer."""
    D: tl.constexpr = NET[0][0]
    H: tl.constexpr = NET[0][1]
    W: tl.constexpr = NET[2]
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    c, b, i = tl.arange(0, W), tl.arange(0, BP), s * C + tl.arange(0, C)
    step = tl.load(place[0])
    if tl.program_id(0) == 0:
        tl.store(place[1], step)
    x, _, _ = batch_of(rows, order, cell, step, N, b, i, B, D)
    at, inside = NET[1][0] + i[:, None] * H + c[None, :], (i[:, None] < D) & (c[None, :] < H)
    weight = tl.load(w + cell.to(tl.int64) * n + at, mask=inside, other=0.0)
    tile = b[:, None] * W + c[None, :]
    products = tl.dot(x, weight, input_precision=P)
    tl.store(scratch[0] + tl.program_id(0) * BP * W + tile, products, mask=b[:, None] < B)


@triton.jit
def down_kernel(w, m, v, masks, rows, order, rates, tables, place, stats, scratch, n, N, of, RULE: tl.constexpr,
                NET: tl.constexpr, P: tl.constexpr, LOSS: tl.constexpr, BS: tl.constexpr, U: tl.constexpr,
                B: tl.constexpr, BP: tl.constexpr, C: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Go up to C of a cell's outputs, update what gives them, and go down from them."""
    D: tl.constexpr = NET[0][0]
    G: tl.constexpr = NET[0][NET[3] - 1]
    W: tl.constexpr = NET[2]
    K: tl.constexpr = NET[3]
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    c, b, i = tl.arange(0, W), tl.arange(0, BP), s * C + tl.arange(0, C)
    step = tl.load(place[0])
    row = row_of(w, m, v, masks, cell, n)
    rate = tl.load(tables + step) * tl.load(rates + cell), tl.load(tables + of + step)
    at4, in4 = NET[1][2 * K - 2] + c[:, None] * D + i[None, :], (c[:, None] < G) & (i[None, :] < D)
    at5, in5 = NET[1][2 * K - 1] + i, i < D
    w4, w5 = load_three(row, at4, in4, RULE), load_three(row, at5, in5, RULE)
    x, here, left = batch_of(rows, order, cell, step, N, b, i, B, D)
    middle = load_middle(row, (0, 0, False, False), NET)
    outs = forward_middle(sum_of_blocks(scratch[0], cell, B, BP, W, S), middle, NET)
    pre = tl.dot(outs[K - 2], w4[0], input_precision=P) + w5[0][None, :]
    d4 = last_delta(pre, x, here, 1.0 / (left * D).to(tl.float32), LOSS, NET)
    down = tl.dot(d4, tl.trans(w4[0]), input_precision=P)
    tl.store(scratch[1] + tl.program_id(0) * BP * W + b[:, None] * W + c[None, :], down, mask=b[:, None] < B)
    grad = tl.dot(tl.trans(outs[K - 2]), d4, input_precision=P)
    store_three(row, step_three(row, w4, grad, at4, in4, rate, RULE), at4, in4, RULE)
    store_three(row, step_three(row, w5, tl.sum(d4, 0), at5, in5, rate, RULE), at5, in5, RULE)
    if s == 0:
        store_outs(outs, scratch[2], cell, BP, NET)
        store_copy(middle, scratch[3], cell, NET)
    if BS > 0:
        spot = cell.to(tl.int64) * BS * U
        accumulate(stats, pre, spot + b[:, None] * U + (U - D) + i[None, :], here)
        if s == 0:
            accumulate_middle(stats, spot, outs, b, left, NET, U)
            count_batch(stats[2], cell * BS, b, left)


@triton.jit
def back_kernel(w, m, v, masks, rows, order, rates, tables, place, scratch, n, N, of, RULE: tl.constexpr,
                NET: tl.constexpr, B: tl.constexpr, BP: tl.constexpr, C: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Go down to the first layer, update what reads C of the inputs, and, once a cell, what is between the ends."""
    D: tl.constexpr = NET[0][0]
    H: tl.constexpr = NET[0][1]
    W: tl.constexpr = NET[2]
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    c, b, i = tl.arange(0, W), tl.arange(0, BP), s * C + tl.arange(0, C)
    step = tl.load(place[1])
    if tl.program_id(0) == 0:
        tl.store(place[0], step + 1)
    row = row_of(w, m, v, masks, cell, n)
    rate = tl.load(tables + step) * tl.load(rates + cell), tl.load(tables + of + step)
    at, inside = NET[1][0] + i[None, :] * H + c[:, None], (i[None, :] < D) & (c[:, None] < H)
    weight = load_three(row, at, inside, RULE)
    x, _, _ = batch_of(rows, order, cell, step, N, b, i, B, D)
    outs = load_outs(scratch[2], cell, BP, NET)
    deltas = backward_middle(sum_of_blocks(scratch[1], cell, B, BP, W, S), outs, load_copy(scratch[3], cell, NET), NET)
    grad = tl.dot(tl.trans(deltas[0]), x, input_precision=NET[4])
    store_three(row, step_three(row, weight, grad, at, inside, rate, RULE), at, inside, RULE)
    if s == 0:
        middle = step_middle(row, load_middle(row, RULE, NET), outs, deltas, rate, RULE, NET)
        store_middle(row, middle, RULE, NET)


def narrow_step(buffers: Buffers, loss: str) -> None:
    """Make the step at the counter, and count; of a batch that is as large as the rows that are left."""
    block, training, rows = buffers.block, buffers.training, buffers.rows
    cells, n = block.weights.shape
    form: Form = step_form(buffers.net, min(training.batch, rows.shape[0]), cells)
    sizes, offsets, acts = chain_of(buffers.net)
    first, second = block.moments or (block.weights, block.weights)
    state = (block.weights, first, second, block.masks.view(torch.uint8))
    batches, place = (rows, buffers.order), (buffers.counter, buffers.now)
    rates, stats = (block.learning_rate, buffers.tables), block.stats
    counted = (stats.total, stats.square, stats.count) if stats else (block.weights,) * 3
    scratch = scratch_of(form, len(acts), cells, rows.device)
    shape = {"NET": (sizes, offsets, form.width, len(acts), PLAIN, *acts), "B": form.batch, "BP": form.batch_tile}
    shape |= {"C": form.stretch, "S": form.parts, "num_warps": form.warps}
    rule = (*training.betas, training.optimizer == "adam", training.persistent_masks)
    grid, numbers = (cells * form.parts,), (n, rows.shape[0], buffers.of)
    up_kernel[grid](block.weights, *batches, place, scratch, *numbers[:2], P=form.product, **shape)
    down_kernel[grid](
        *state, *batches, *rates, place, counted, scratch, *numbers, RULE=rule, P=form.product, LOSS=loss,
        BS=stats.total.shape[1] if stats else 0, U=stats.total.shape[2] if stats else 0, **shape,
    )  # fmt: skip
    back_kernel[grid](*state, *batches, *rates, place, scratch, *numbers, RULE=rule, **shape)


def scratch_of(form: Form, layers: int, cells: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the blocks of a step leave to each other."""
    tile, width = form.batch_tile, form.width
    shapes = ((2, cells, form.parts, tile, width), (cells, layers - 1, tile, width), (cells, layers - 2, width, width))
    products, outs, copy = (torch.empty(shape, device=device) for shape in shapes)
    return products[0], products[1], outs, copy
