"""A training step of a narrow plain network in three launches: S blocks a cell, C of its inputs each.

up_kernel     the first layer's products, block by block; the last block of a cell continues to the last layer but one
down_kernel   the last layer with its loss, its update, and the products on the way back; the last block of a cell
              continues to the first layer, and updates what is between the ends
back_kernel   the update of the first layer's weights

No block waits for another: whichever comes last continues. cells, data and NET are those of
:mod:`aecompress.engines.cuda.records`; the tables are those of a pass. ``data.between`` is the next step of the pass
and the one that is made, int64 ``[1]`` each, of which a launch writes what it does not read; how many blocks of a cell
have come, int32 ``[P]``, 0 between launches; products up and down ``[P, S, BP, W]``; what the first K - 1 layers gave,
``[P, K - 1, BP, W]``; and the gradient before the first layer's activation, ``[P, BP, W]``.

No product has 64 rows, so that none of shorter numbers becomes one of a warp group
(:data:`aecompress.engines.cuda.passes.SAFE_ROWS`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.passes import FEW, PLAIN, Form, net_of, step_form
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
    if S > 1:
        tl.debug_barrier()
        last = tl.atomic_add(arrived + cell, 1, sem="acq_rel", scope="gpu") == S - 1
        if last:
            tl.store(arrived + cell, 0)
    return last


@triton.jit
def go_up(cells, data, cell, step, NET: tl.constexpr):
    """Go through the first K - 1 layers of a cell, and write what they give."""
    _, _, _, up, _, outs_left, _ = data.between
    outs = forward_middle(sum_of_blocks(up, cell, NET), load_middle(row_of(cells, cell), False, NET), NET)
    for k in tl.static_range(len(NET.acts) - 1):
        tl.store(outs_left + tile_at(cell, k, len(NET.acts) - 1, NET), outs[k])
    if NET.stats_batch > 0:
        left = tl.minimum(data.row_count - step * NET.batch, NET.batch)
        accumulate_middle(cells, outs, cell, tl.arange(0, NET.tile), left, NET)


@triton.jit
def go_down(cells, data, cell, rate, NET: tl.constexpr):
    """Go down to the first layer of a cell, write its gradient, and update what is between the ends."""
    ADAM: tl.constexpr = NET.rule.adam
    _, _, _, _, down, outs_left, delta_left = data.between
    row = row_of(cells, cell)
    middle = load_middle(row, ADAM, NET)
    outs = (tl.load(outs_left + tile_at(cell, 0, len(NET.acts) - 1, NET)),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        outs = outs + (tl.load(outs_left + tile_at(cell, k, len(NET.acts) - 1, NET)),)
    deltas = backward_middle(sum_of_blocks(down, cell, NET), outs, middle, NET)
    tl.store(delta_left + tile_at(cell, 0, 1, NET), deltas[0])
    store_middle(row, step_middle(row, middle, (outs, deltas), rate, NET), ADAM, NET)


@triton.jit
def up_kernel(cells, data, NET: tl.constexpr):
    """Multiply C inputs of a cell's batch by their weights of the first layer; the cell's last block continues."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, arrived, up, _, _, _ = data.between
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    tile = first_tile(i[:, None], c[None, :], NET)
    weight = tl.load(cells.w + cell.to(tl.int64) * cells.n + tile.at, mask=tile.inside, other=0.0)
    step = tl.load(counter)
    if tl.program_id(0) == 0:
        tl.store(now, step)
    x, _, _ = batch_of(data, cell, step, b, i, NET)
    at = tl.program_id(0) * NET.tile * W + b[:, None] * W + c[None, :]
    tl.store(up + at, product(x, weight, P, B), mask=b[:, None] < NET.batch)
    if is_last(arrived, cell, S):
        go_up(cells, data, cell, step, NET)


@triton.jit
def down_kernel(cells, data, NET: tl.constexpr):
    """Go up to C of a cell's outputs, update their weights, and go down from them; the cell's last block continues."""
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    K: tl.constexpr = len(NET.acts)
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, _, arrived, _, down, outs_left, _ = data.between
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    row, tile4, tile5 = row_of(cells, cell), last_tile(c, i, NET), last_bias(i, NET)
    w4, w5 = load_three(row, tile4, RULE.adam), load_three(row, tile5, RULE.adam)
    step = tl.load(counter)
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
        go_down(cells, data, cell, rate, NET)


@triton.jit
def back_kernel(cells, data, NET: tl.constexpr):
    """Update what reads C of a cell's inputs, and count the step."""
    S: tl.constexpr = NET.parts
    P: tl.constexpr = NET.end_precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    counter, now, _, _, _, _, delta_left = data.between
    c, b, i = tl.arange(0, NET.width), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    row, tile = row_of(cells, cell), first_tile(i[None, :], c[:, None], NET)
    weight = load_three(row, tile, RULE.adam)
    step = tl.load(now)
    if tl.program_id(0) == 0:
        tl.store(counter, step + 1)
    rate = rate_of(cells, cell, data, step)
    x, _, _ = batch_of(data, cell, step, b, i, NET)
    delta = tl.load(delta_left + tile_at(cell, 0, 1, NET))
    grad = product_over_rows(delta, x, P, B)
    store_three(row, step_three(row, weight, grad, tile, rate, RULE), tile, RULE.adam)


def narrow_step(buffers: Buffers, loss: str) -> None:
    """Make the step at the counter, and count; of a batch that is as large as the rows that are left."""
    rows = buffers.rows.shape[0]
    step_in_form(buffers, loss, step_form(buffers.net, min(buffers.training.batch, rows), len(buffers.block)))


def step_in_form(buffers: Buffers, loss: str, form: Form) -> None:
    """Make a step like :func:`narrow_step`, in kernels of this form."""
    block, training, rows = buffers.block, buffers.training, buffers.rows
    assert isinstance(rows, Tensor)
    net = net_of(buffers.net, form, training, loss, block.stats)
    net = net._replace(precision=form.product if form.product in FEW else PLAIN)
    between = buffers.counter, buffers.now, buffers.arrived, *scratch_of(net, len(block), rows.device)
    data = Batches(rows=rows, order=buffers.order, row_count=rows.shape[0], tables=buffers.tables, between=between)
    grid, cells, warps, most = (len(block) * form.parts,), cells_of(block), form.warps, form.registers
    up_kernel[grid](cells, data, NET=net._replace(loss=""), num_warps=warps, maxnreg=most)
    down_kernel[grid](cells, data, NET=net, num_warps=warps, maxnreg=most)
    silent = net._replace(loss="", stats_batch=0, units=0)
    back_kernel[grid](cells, data, NET=silent, num_warps=warps, maxnreg=most)


def scratch_of(net: Net, cells: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the blocks of a step leave to each other."""
    layers, tile, width = len(net.acts), net.tile, net.width
    shapes = ((2, cells, net.parts, tile, width), (cells, layers - 1, tile, width), (cells, tile, width))
    products, outs, delta = (torch.empty(shape, device=device) for shape in shapes)
    return products[0], products[1], outs, delta
