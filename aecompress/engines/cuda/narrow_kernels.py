"""A training step of a narrow plain network in three launches: S blocks a cell, C of its inputs each.

up_kernel     the first layer's products, block by block
down_kernel   the layers between the ends, the last one with its loss, its update, and the products on the way back
back_kernel   the gradients between the ends and the update of all but the last layer

cells, data and NET are those of :mod:`aecompress.engines.cuda.records`; the tables are those of a pass.
``data.between`` is the next step of the pass and the one that is made, int64 ``[1]`` each, of which a launch writes
what it does not read; products up and down ``[P, S, BP, W]``; what the first K - 1 layers gave, ``[P, K - 1, BP, W]``;
and the weights between the ends before the step, ``[P, K - 2, W, W]``.

No product has 64 rows, so that none of shorter numbers becomes one of a warp group
(:data:`aecompress.engines.cuda.passes.SAFE_ROWS`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.passes import PLAIN, net_of, step_form
from aecompress.engines.cuda.pieces import (
    accumulate_last,
    accumulate_middle,
    backward_middle,
    batch_of,
    first_tile,
    forward_middle,
    last_bias,
    last_delta,
    last_tile,
    load_middle,
    load_three,
    rate_of,
    row_of,
    step_middle,
    step_three,
    store_middle,
    store_three,
)
from aecompress.engines.cuda.records import Batches, Net, Tile, cells_of
from aecompress.engines.cuda.steps import Buffers


@triton.jit
def sum_of_blocks(parts, cell, NET: tl.constexpr):
    """Return the sum of the cell's blocks' products, always in the same order."""
    S: tl.constexpr = NET.parts
    BP: tl.constexpr = NET.tile
    W: tl.constexpr = NET.width
    b, c = tl.arange(0, BP)[:, None], tl.arange(0, W)[None, :]
    total = tl.zeros((BP, W), tl.float32)
    for s in tl.static_range(S):
        at = (cell * S + s) * BP * W + b * W + c
        total += tl.load(parts + at, mask=b < NET.batch, other=0.0)
    return total


@triton.jit
def tile_at(cell, k, ROWS: tl.constexpr, LAYERS: tl.constexpr, NET: tl.constexpr):
    """Return the places of tile ``k`` of a cell that has LAYERS of them, ``[ROWS, W]``."""
    tile = tl.arange(0, ROWS)[:, None] * NET.width + tl.arange(0, NET.width)[None, :]
    return (cell * LAYERS + k) * ROWS * NET.width + tile


@triton.jit
def store_outs(outs, into, cell, NET: tl.constexpr):
    """Write what the first K - 1 layers gave."""
    for k in tl.static_range(len(NET.acts) - 1):
        tl.store(into + tile_at(cell, k, NET.tile, len(NET.acts) - 1, NET), outs[k])


@triton.jit
def load_outs(given, cell, NET: tl.constexpr):
    """Read what :func:`store_outs` wrote."""
    outs = (tl.load(given + tile_at(cell, 0, NET.tile, len(NET.acts) - 1, NET)),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        outs = outs + (tl.load(given + tile_at(cell, k, NET.tile, len(NET.acts) - 1, NET)),)
    return outs


@triton.jit
def store_copy(middle, into, cell, NET: tl.constexpr):
    """Write the weights between the ends."""
    for k in tl.static_range(1, len(NET.acts) - 1):
        tl.store(into + tile_at(cell, k - 1, NET.width, len(NET.acts) - 2, NET), middle[0][k][0])


@triton.jit
def load_copy(given, cell, NET: tl.constexpr):
    """Read what :func:`store_copy` wrote, in the form of :func:`aecompress.engines.cuda.pieces.load_middle`."""
    weights = (0.0,)
    for k in tl.static_range(1, len(NET.acts) - 1):
        weights = weights + ((tl.load(given + tile_at(cell, k - 1, NET.width, len(NET.acts) - 2, NET)),),)
    return (weights,)


@triton.jit
def up_kernel(cells, data, NET: tl.constexpr):
    """Multiply C inputs of a cell's batch by their weights of the first layer."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, up, _, _, _ = data.between
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    step = tl.load(counter)
    if tl.program_id(0) == 0:
        tl.store(now, step)
    x, _, _ = batch_of(data, cell, step, b, i, NET)
    tile = first_tile(i[:, None], c[None, :], NET)
    weight = tl.load(cells.w + cell.to(tl.int64) * cells.n + tile.at, mask=tile.inside, other=0.0)
    products = tl.dot(x, weight, input_precision=NET.end_precision)
    at = tl.program_id(0) * NET.tile * W + b[:, None] * W + c[None, :]
    tl.store(up + at, products, mask=b[:, None] < NET.batch)


@triton.jit
def down_kernel(cells, data, NET: tl.constexpr):
    """Go up to C of a cell's outputs, update what gives them, and go down from them."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    K: tl.constexpr = len(NET.acts)
    P: tl.constexpr = NET.end_precision
    RULE: tl.constexpr = NET.rule
    BS: tl.constexpr = NET.stats_batch
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, _, up, down, outs_left, copy_left = data.between
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    step = tl.load(counter)
    row, rate = row_of(cells, cell), rate_of(cells, cell, data, step)
    tile4, tile5 = last_tile(c, i, NET), last_bias(i, NET)
    w4, w5 = load_three(row, tile4, RULE.adam), load_three(row, tile5, RULE.adam)
    x, here, left = batch_of(data, cell, step, b, i, NET)
    middle = load_middle(row, False, NET)
    outs = forward_middle(sum_of_blocks(up, cell, NET), middle, NET)
    pre = tl.dot(outs[K - 2], w4[0], input_precision=P) + w5[0][None, :]
    d4 = last_delta(pre, x, here, 1.0 / (left * NET.sizes[0]).to(tl.float32), NET)
    products = tl.dot(d4, tl.trans(w4[0]), input_precision=P)
    at = tl.program_id(0) * NET.tile * W + b[:, None] * W + c[None, :]
    tl.store(down + at, products, mask=b[:, None] < NET.batch)
    grad = tl.dot(tl.trans(outs[K - 2]), d4, input_precision=P)
    store_three(row, step_three(row, w4, grad, tile4, rate, RULE), tile4, RULE.adam)
    store_three(row, step_three(row, w5, tl.sum(d4, 0), tile5, rate, RULE), tile5, RULE.adam)
    if s == 0:
        store_outs(outs, outs_left, cell, NET)
        store_copy(middle, copy_left, cell, NET)
    if BS > 0:
        accumulate_last(cells, pre, cell, b, Tile(i, here), NET)
        if s == 0:
            accumulate_middle(cells, outs, cell, b, left, NET)


@triton.jit
def back_kernel(cells, data, NET: tl.constexpr):
    """Go down to the first layer, update what reads C of the inputs, and, once a cell, what is between the ends."""
    S: tl.constexpr = NET.parts
    RULE: tl.constexpr = NET.rule
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, _, down, outs_left, copy_left = data.between
    c, b, i = tl.arange(0, NET.width), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    step = tl.load(now)
    if tl.program_id(0) == 0:
        tl.store(counter, step + 1)
    row, rate = row_of(cells, cell), rate_of(cells, cell, data, step)
    tile = first_tile(i[None, :], c[:, None], NET)
    weight = load_three(row, tile, RULE.adam)
    x, _, _ = batch_of(data, cell, step, b, i, NET)
    outs = load_outs(outs_left, cell, NET)
    deltas = backward_middle(sum_of_blocks(down, cell, NET), outs, load_copy(copy_left, cell, NET), NET)
    grad = tl.dot(tl.trans(deltas[0]), x, input_precision=NET.precision)
    store_three(row, step_three(row, weight, grad, tile, rate, RULE), tile, RULE.adam)
    if s == 0:
        middle = step_middle(row, load_middle(row, RULE.adam, NET), (outs, deltas), rate, NET)
        store_middle(row, middle, RULE.adam, NET)


def narrow_step(buffers: Buffers, loss: str) -> None:
    """Make the step at the counter, and count; of a batch that is as large as the rows that are left."""
    block, training, rows = buffers.block, buffers.training, buffers.rows
    assert isinstance(rows, Tensor)
    form = step_form(buffers.net, min(training.batch, rows.shape[0]), len(block))
    net = net_of(buffers.net, form, training, loss, block.stats)._replace(precision=PLAIN)
    between = buffers.counter, buffers.now, *scratch_of(net, len(block), rows.device)
    data = Batches(rows=rows, order=buffers.order, row_count=rows.shape[0], tables=buffers.tables, between=between)
    grid, cells = (len(block) * form.parts,), cells_of(block)
    silent = net._replace(loss="", stats_batch=0, units=0)  # one kernel for all losses
    up_kernel[grid](cells, data, NET=silent, num_warps=form.warps)
    down_kernel[grid](cells, data, NET=net, num_warps=form.warps)
    back_kernel[grid](cells, data, NET=silent, num_warps=form.warps)


def scratch_of(net: Net, cells: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the blocks of a step leave to each other."""
    layers, tile, width = len(net.acts), net.tile, net.width
    shapes = ((2, cells, net.parts, tile, width), (cells, layers - 1, tile, width), (cells, layers - 2, width, width))
    products, outs, copy = (torch.empty(shape, device=device) for shape in shapes)
    return products[0], products[1], outs, copy
