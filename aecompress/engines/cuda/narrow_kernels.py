"""A training step of a narrow plain network in two launches: S blocks a cell, C of its inputs each.

up_kernel     the first layer's products, block by block, once before the first step of a stretch of a pass
down_kernel   the last layer with its loss, its update, and the products on the way back
turn_kernel   the update of the first layer's weights, and its products for the next step, while they are at hand

In each the last block of a cell continues: from the first layer to the last but one, or down to the first, with the
update of what is between the ends. No block waits for another. cells, data and NET are those of
:mod:`aecompress.engines.cuda.records`; the tables are those of a pass. ``data.between`` is the next step of the pass
and the one that is made, int64 ``[1]`` each, of which a launch writes what it does not read, and a
:class:`aecompress.engines.cuda.passes.Scratch`.

No product has 64 rows, so that none of shorter numbers becomes one of a warp group
(:data:`aecompress.engines.cuda.passes.SAFE_ROWS`).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.passes import FEW, MIXED, PLAIN, Form, net_of
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
    product,
    product_over_rows,
    rate_of,
    row_of,
    step_middle,
    step_three,
    store_middle,
    store_three,
)
from aecompress.engines.cuda.records import Batches, Cells, Net, Tile, cells_of
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
        total += tl.load(parts + at, mask=b < NET.batch, other=0.0, cache_modifier=".cg")
    return total


@triton.jit
def tile_at(cell, k, TILES: tl.constexpr, NET: tl.constexpr):
    """Return the places of tile ``k`` of a cell that has TILES of them, ``[BP, W]``."""
    tile = tl.arange(0, NET.tile)[:, None] * NET.width + tl.arange(0, NET.width)[None, :]
    return (cell * TILES + k) * NET.tile * NET.width + tile


@triton.jit
def is_last(arrived, cell, S: tl.constexpr):
    """Return whether the cell's other blocks have come here before; what they wrote before that can be read then."""
    last = True
    tl.debug_barrier()
    if S > 1:
        last = tl.atomic_add(arrived + cell, 1, sem="acq_rel", scope="gpu") == S - 1
        if last:
            tl.store(arrived + cell, 0)
    return last


@triton.jit
def go_up(cells, data, cell, NET: tl.constexpr):
    """Go through the first K - 1 layers of a cell, and write what they give."""
    _, _, _, up, _, outs_left, _ = data.between
    outs = forward_middle(sum_of_blocks(up, cell, NET), load_middle(row_of(cells, cell), False, NET), NET)
    for k in tl.static_range(len(NET.acts) - 1):
        tl.store(outs_left + tile_at(cell, k, len(NET.acts) - 1, NET), outs[k])


@triton.jit
def go_down(cells, data, cell, step, NET: tl.constexpr):
    """Go down to the first layer of a cell, write its gradient, and update what is between the ends."""
    ADAM: tl.constexpr = NET.rule.adam
    _, _, _, _, down, outs_left, delta_left = data.between
    row = row_of(cells, cell)
    middle, rate = load_middle(row, ADAM, NET), rate_of(cells, cell, data, step)
    outs = (tl.load(outs_left + tile_at(cell, 0, len(NET.acts) - 1, NET)),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        outs = outs + (tl.load(outs_left + tile_at(cell, k, len(NET.acts) - 1, NET)),)
    deltas = backward_middle(sum_of_blocks(down, cell, NET), outs, middle, NET)
    tl.store(delta_left + tile_at(cell, 0, 1, NET), deltas[0])
    store_middle(row, step_middle(row, middle, (outs, deltas), rate, NET), ADAM, NET)
    if NET.stats_batch > 0:
        left = tl.minimum(data.row_count - step * NET.batch, NET.batch)
        accumulate_middle(cells, outs, cell, tl.arange(0, NET.tile), left, NET)


@triton.jit
def finish_up(cells, data, products, NET: tl.constexpr):
    """Write a block's products of the first layer; the cell's last block continues up."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    _, _, arrived, up, _, _, _ = data.between
    cell, b, c = tl.program_id(0) // S, tl.arange(0, NET.tile)[:, None], tl.arange(0, W)[None, :]
    tl.store(up + tl.program_id(0) * NET.tile * W + b * W + c, products, mask=b < NET.batch)
    if is_last(arrived, cell, S):
        go_up(cells, data, cell, NET)


@triton.jit
def up_kernel(cells, data, NET: tl.constexpr):
    """Multiply C inputs of a cell's batch by their weights of the first layer."""
    S: tl.constexpr = NET.parts
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, _, _, _, _, _, _ = data.between
    c, b, i = tl.arange(0, NET.width), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    tile = first_tile(i[:, None], c[None, :], NET)
    weight = tl.load(row_of(cells, cell).w + tile.at, mask=tile.inside, other=0.0)
    x, _, _ = batch_of(data, cell, tl.load(counter), b, i, NET)
    finish_up(cells, data, product(x, weight, P, B), NET)


@triton.jit
def down_kernel(cells, data, NET: tl.constexpr):
    """Go up to C of a cell's outputs, update their weights, and go down from them."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    K: tl.constexpr = len(NET.acts)
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, arrived, _, down, outs_left, _ = data.between
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    row, tile4, tile5 = row_of(cells, cell), last_tile(c, i, NET), last_bias(i, NET)
    w4, w5 = load_three(row, tile4, RULE.adam), load_three(row, tile5, RULE.adam)
    step = tl.load(counter)
    if tl.program_id(0) == 0:
        tl.store(now, step)
    rate = rate_of(cells, cell, data, step)
    x, here, left = batch_of(data, cell, step, b, i, NET)
    given = tl.load(outs_left + tile_at(cell, K - 2, K - 1, NET))
    pre = product(given, w4[0], P, B) + w5[0][None, :]
    d4 = last_delta(pre, x, here, 1.0 / (left * NET.sizes[0]).to(tl.float32), NET)
    store_three(row, step_three(row, w4, product_over_rows(given, d4, P, B), tile4, rate, RULE), tile4, RULE.adam)
    store_three(row, step_three(row, w5, tl.sum(d4, 0), tile5, rate, RULE), tile5, RULE.adam)
    at = tl.program_id(0) * NET.tile * W + b[:, None] * W + c[None, :]
    tl.store(down + at, product(d4, tl.trans(w4[0]), P, B), mask=b[:, None] < NET.batch)
    if NET.stats_batch > 0:
        accumulate_last(cells, pre, cell, b, Tile(i, here), NET)
    if is_last(arrived, cell, S):
        go_down(cells, data, cell, step, NET)


@triton.jit
def turn_kernel(cells, data, NET: tl.constexpr):
    """Update what reads C of a cell's inputs, count the step, and multiply the next batch by it."""
    S: tl.constexpr = NET.parts
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, _, _, _, _, delta_left = data.between
    c, b, i = tl.arange(0, NET.width), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    row, tile = row_of(cells, cell), first_tile(i[:, None], c[None, :], NET)
    weight = load_three(row, tile, RULE.adam)
    step = tl.load(now)
    if tl.program_id(0) == 0:
        tl.store(counter, step + 1)
    rate = rate_of(cells, cell, data, step)
    x, _, _ = batch_of(data, cell, step, b, i, NET)
    x2, _, _ = batch_of(data, cell, step + 1, b, i, NET)
    delta = tl.load(delta_left + tile_at(cell, 0, 1, NET))
    if P == "rows" or P == "mixed":
        grad = product_over_rows(x, delta, P, B)
    else:  # of as few rows as the tiles between the ends have
        grad = tl.trans(product_over_rows(delta, x, P, B))
    weight = step_three(row, weight, grad, tile, rate, RULE)
    store_three(row, weight, tile, RULE.adam)
    finish_up(cells, data, product(x2, weight[0], P, B), NET)


def arguments(buffers: Buffers, loss: str) -> tuple[Cells, Batches, Net, Form]:
    """Return what the kernels take, and their form; a batch is as large as the rows that are left."""
    block, rows, scratch = buffers.block, buffers.rows, buffers.scratch
    assert isinstance(rows, Tensor) and scratch is not None
    net, product = net_of(buffers.net, scratch.form, buffers.training, loss, block.stats), scratch.form.product
    data = Batches(
        rows=rows,
        order=buffers.order,
        row_count=rows.shape[0],
        tables=buffers.tables,
        between=(buffers.counter, buffers.now, *scratch.tensors),
    )
    return cells_of(block), data, net._replace(precision=MIXED if product in FEW else PLAIN), scratch.form


def begin(buffers: Buffers) -> None:
    """Make the first products of the step at the counter; before the first of some steps."""
    cells, data, net, form = arguments(buffers, "")
    grid, silent = (len(buffers.block) * form.parts,), net._replace(stats_batch=0, units=0)
    up_kernel[grid](cells, data, NET=silent, num_warps=form.warps)


def narrow_step(buffers: Buffers, loss: str) -> None:
    """Make the step at the counter, and count; begin the next one."""
    cells, data, net, form = arguments(buffers, loss)
    grid, silent = (len(buffers.block) * form.parts,), net._replace(loss="", stats_batch=0, units=0)
    down_kernel[grid](cells, data, NET=net, num_warps=form.warps)
    turn_kernel[grid](cells, data, NET=silent, num_warps=form.warps)  # one for all losses
