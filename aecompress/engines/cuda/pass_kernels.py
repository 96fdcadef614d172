"""Two kernels that each train cells for a stretch of a pass in one launch.

split_kernel   S blocks of the GPU train one cell, C inputs each, their weights in registers
whole_kernel   one block trains one cell; the weights of the two ends stay in memory and are read C inputs at a time

cells, data, NET   :mod:`aecompress.engines.cuda.records`; the tables are those of these steps alone. ``data.between``
                   is, for the split kernel, products up and down ``[P, S, BP, W]``, a counter per cell (0), a fault
                   flag, and the looks at a counter before a block gives up
place              of the first cell that is trained
first, steps       the first step of the stretch, and how many

Numbers that change from launch to launch are not specialised: each wave of an asynchronous ring would be compiled anew.
"""

from __future__ import annotations

import triton
import triton.language as tl

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
from aecompress.engines.cuda.records import Tile


@triton.jit
def arrive(counter, S: tl.constexpr):
    """Count this block among those of the cell that have come here, and publish what it has written."""
    if S > 1:
        tl.debug_barrier()
        tl.atomic_add(counter, 1, sem="release", scope="gpu")


@triton.jit
def wait_for_all(counter, target, fault, patience, S: tl.constexpr):
    """Wait until every block of the cell has arrived; return how many looks the next wait may take.

    After ``patience`` looks at the counter the block gives up, sets the fault flag, and never waits again.
    """
    tl.debug_barrier()
    if S > 1:
        seen = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
        looks = 0
        while (seen < target) & (looks < patience):
            seen = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
            looks += 1
        if seen < target:
            tl.store(fault, 1)
            patience = 0
        tl.debug_barrier()
    return patience


@triton.jit
def sum_of_parts(parts, cell, NET: tl.constexpr):
    """Return the sum of the parts of the cell's blocks, always in the same order."""
    S: tl.constexpr = NET.parts
    BP: tl.constexpr = NET.tile
    W: tl.constexpr = NET.width
    tile = tl.arange(0, BP)[:, None] * W + tl.arange(0, W)[None, :]
    total = tl.zeros((BP, W), tl.float32)
    for k in tl.static_range(S):
        total += tl.load(parts + (cell * S + k) * BP * W + tile, cache_modifier=".cg")
    return total


@triton.jit(do_not_specialize=["place", "first", "steps"])
def split_kernel(cells, data, place, first, steps, NET: tl.constexpr):
    """Train C inputs' share of one cell; the blocks of a cell add up their parts twice a step."""
    K: tl.constexpr = len(NET.acts)
    W: tl.constexpr = NET.width
    S: tl.constexpr = NET.parts
    P: tl.constexpr = NET.precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    BS: tl.constexpr = NET.stats_batch
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    place += cell
    up, down, counters, fault, patience = data.between
    row, counter = row_of(cells, place), counters + cell
    c, b, i = tl.arange(0, W), tl.arange(0, NET.tile), s * NET.stretch + tl.arange(0, NET.stretch)
    tile1, tile4, tile5 = first_tile(i[:, None], c[None, :], NET), last_tile(c, i, NET), last_bias(i, NET)
    w1, w4, w5 = load_three(row, tile1, RULE.adam), load_three(row, tile4, RULE.adam), load_three(row, tile5, RULE.adam)
    middle = load_middle(row, RULE.adam, NET)
    mine = tl.program_id(0) * NET.tile * W + b[:, None] * W + c[None, :]
    x, here, left = batch_of(data, cell, first, b, i, NET)
    tl.store(up + mine, product(x, w1[0], P, B))
    arrive(counter, S)
    # What no other block waits for is done while this one waits for the others.
    for step in range(steps):
        rate = rate_of(cells, place, data, step)
        x2, here2, left2 = batch_of(data, cell, first + step + 1, b, i, NET)
        patience = wait_for_all(counter, (2 * step + 1) * S, fault, patience, S)
        outs = forward_middle(sum_of_parts(up, cell, NET), middle, NET)
        pre = product(outs[K - 2], w4[0], P, B) + w5[0][None, :]
        d4 = last_delta(pre, x, here, 1.0 / (left * NET.sizes[0]).to(tl.float32), NET)
        tl.store(down + mine, product(d4, tl.trans(w4[0]), P, B))
        arrive(counter, S)
        w4 = step_three(row, w4, product_over_rows(outs[K - 2], d4, P, B), tile4, rate, RULE)
        w5 = step_three(row, w5, tl.sum(d4, 0), tile5, rate, RULE)
        if BS > 0:
            accumulate_last(cells, pre, place, b, Tile(i, here), NET)
            if s == 0:
                accumulate_middle(cells, outs, place, b, left, NET)
        patience = wait_for_all(counter, (2 * step + 2) * S, fault, patience, S)
        deltas = backward_middle(sum_of_parts(down, cell, NET), outs, middle, NET)
        w1 = step_three(row, w1, product_over_rows(x, deltas[0], P, B), tile1, rate, RULE)
        x, here, left = x2, here2, left2
        tl.store(up + mine, product(x, w1[0], P, B))
        arrive(counter, S)
        middle = step_middle(row, middle, (outs, deltas), rate, NET)
    store_three(row, w1, tile1, RULE.adam)
    store_three(row, w4, tile4, RULE.adam)
    store_three(row, w5, tile5, RULE.adam)
    if s == 0:
        store_middle(row, middle, RULE.adam, NET)


@triton.jit(do_not_specialize=["place", "first", "steps"])
def whole_kernel(cells, data, place, first, steps, NET: tl.constexpr):
    """Train one cell, stretch after stretch of C inputs."""
    K: tl.constexpr = len(NET.acts)
    BP: tl.constexpr = NET.tile
    W: tl.constexpr = NET.width
    C: tl.constexpr = NET.stretch
    P: tl.constexpr = NET.precision
    B: tl.constexpr = NET.batch
    RULE: tl.constexpr = NET.rule
    BS: tl.constexpr = NET.stats_batch
    cell = tl.program_id(0)
    place += cell
    row = row_of(cells, place)
    c, b = tl.arange(0, W), tl.arange(0, BP)
    middle = load_middle(row, RULE.adam, NET)
    for step in range(steps):
        rate = rate_of(cells, place, data, step)
        into, back = tl.zeros((BP, W), tl.float32), tl.zeros((BP, W), tl.float32)
        for begin in range(0, NET.sizes[0], C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(data, cell, first + step, b, i, NET)
            tile = first_tile(i[:, None], c[None, :], NET)
            into += product(x, tl.load(row.w + tile.at, mask=tile.inside, other=0.0), P, B)
        outs = forward_middle(into, middle, NET)
        left = tl.minimum(data.row_count - (first + step) * NET.batch, NET.batch)
        scale = 1.0 / (left * NET.sizes[0]).to(tl.float32)
        for begin in range(0, NET.sizes[0], C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(data, cell, first + step, b, i, NET)
            tile4, tile5 = last_tile(c, i, NET), last_bias(i, NET)
            w4, w5 = load_three(row, tile4, RULE.adam), load_three(row, tile5, RULE.adam)
            pre = product(outs[K - 2], w4[0], P, B) + w5[0][None, :]
            d4 = last_delta(pre, x, here, scale, NET)
            back += product(d4, tl.trans(w4[0]), P, B)
            grad = product_over_rows(outs[K - 2], d4, P, B)
            store_three(row, step_three(row, w4, grad, tile4, rate, RULE), tile4, RULE.adam)
            store_three(row, step_three(row, w5, tl.sum(d4, 0), tile5, rate, RULE), tile5, RULE.adam)
            if BS > 0:
                accumulate_last(cells, pre, place, b, Tile(i, here), NET)
        deltas = backward_middle(back, outs, middle, NET)
        middle = step_middle(row, middle, (outs, deltas), rate, NET)
        for begin in range(0, NET.sizes[0], C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(data, cell, first + step, b, i, NET)
            tile = first_tile(i[:, None], c[None, :], NET)
            grad = product_over_rows(x, deltas[0], P, B)
            w1 = step_three(row, load_three(row, tile, RULE.adam), grad, tile, rate, RULE)
            store_three(row, w1, tile, RULE.adam)
        if BS > 0:
            accumulate_middle(cells, outs, place, b, left, NET)
        tl.debug_barrier()
    store_middle(row, middle, RULE.adam, NET)
