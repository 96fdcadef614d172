"""Two kernels that each train cells for a stretch of a pass in one launch.

split_kernel   S blocks of the GPU train one cell, C inputs each, their weights in registers
whole_kernel   one block trains one cell; the weights of the two ends stay in memory and are read C inputs at a time

RULE and NET are as :mod:`aecompress.engines.cuda.pieces` has them; the other arguments are
w, m, v, masks         weights, first and second moment, masks as bytes: ``[P, n]``
rows, order            ``[N, D]``; ``[P, N]``
rates, tables          learning rates ``[P]``; sizes and epsilons of these steps, ``[2, steps]``
total, square, seen    statistics ``[P, BS, U]`` twice, and their count ``[P, BS]``
scratch                products up and down ``[P, S, BP, W]``, a counter per cell (0), a fault flag
n, N                   parameters of a cell; rows
first, steps           the first step of the stretch, and how many

Numbers that change from launch to launch are not specialised, nor, in the split kernel, the places of a population in
memory: each wave of an asynchronous ring would be compiled anew. Inside a tuple Triton specialises whatever is there.
"""

from __future__ import annotations

import triton
import triton.language as tl

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


@triton.jit
def row_of(w, m, v, masks, cell, n):
    """Return the cell's row."""
    at = cell.to(tl.int64) * n
    return w + at, m + at, v + at, masks + at


@triton.jit
def batch_of(rows, order, cell, step, count, b, i, B: tl.constexpr, D: tl.constexpr):
    """Read inputs ``i`` of the cell's batch: ``[BP, C]``, which are there, and how many rows; no rows past the last."""
    left = tl.minimum(count - step * B, B)
    here = (b < left)[:, None] & (i[None, :] < D)
    row = tl.load(order + cell.to(tl.int64) * count + step * B + b, mask=b < left, other=0)
    return tl.load(rows + row[:, None] * D + i[None, :], mask=here, other=0.0), here, left


@triton.jit
def wait_for_all(counter, target, fault, patience, S: tl.constexpr):
    """Wait until every block of the cell has come here; return how many looks the next wait may take.

    After ``patience`` looks at the counter the block gives up, sets the fault flag, and never waits again.
    """
    tl.debug_barrier()
    if S > 1:
        tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
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
def sum_of_parts(parts, start, tile, S: tl.constexpr, BP: tl.constexpr, W: tl.constexpr):
    """Return the sum of the blocks' parts, always in the same order."""
    total = tl.zeros((BP, W), tl.float32)
    for k in tl.static_range(S):
        total += tl.load(parts + start + k * BP * W + tile, cache_modifier=".cg")
    return total


@triton.jit(
    do_not_specialize=["first", "steps"],
    do_not_specialize_on_alignment=["w", "m", "v", "masks", "rates", "tables", "total", "square", "seen"],
)
def split_kernel(w, m, v, masks, rows, order, rates, tables, total, square, seen, n, N, first, steps, scratch, patience,
                 RULE: tl.constexpr, NET: tl.constexpr, LOSS: tl.constexpr, BS: tl.constexpr, U: tl.constexpr,
                 B: tl.constexpr, BP: tl.constexpr, C: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Train C inputs' share of one cell; the blocks of a cell add up their parts twice a step."""
    D: tl.constexpr = NET[0][0]
    H: tl.constexpr = NET[0][1]
    G: tl.constexpr = NET[0][NET[3] - 1]
    W: tl.constexpr = NET[2]
    K: tl.constexpr = NET[3]
    P: tl.constexpr = NET[4]
    cell, s = tl.program_id(0) // S, tl.program_id(0) % S
    row, rate = row_of(w, m, v, masks, cell, n), tl.load(rates + cell)
    counter, start = scratch[2] + cell, cell * S * BP * W
    c, b, i = tl.arange(0, W), tl.arange(0, BP), s * C + tl.arange(0, C)
    at1, in1 = NET[1][0] + i[:, None] * H + c[None, :], (i[:, None] < D) & (c[None, :] < H)
    at4, in4 = NET[1][2 * K - 2] + c[:, None] * D + i[None, :], (c[:, None] < G) & (i[None, :] < D)
    at5, in5 = NET[1][2 * K - 1] + i, i < D
    w1, w4, w5 = load_three(row, at1, in1, RULE), load_three(row, at4, in4, RULE), load_three(row, at5, in5, RULE)
    middle = load_middle(row, RULE, NET)
    tile = b[:, None] * W + c[None, :]
    mine = start + s * BP * W + tile
    x, here, left = batch_of(rows, order, cell, first, N, b, i, B, D)
    for step in range(steps):
        sizes = tl.load(tables + step) * rate, tl.load(tables + steps + step)
        tl.store(scratch[0] + mine, tl.dot(x, w1[0], input_precision=P))
        # The next rows are on their way while the blocks wait for each other.
        x2, here2, left2 = batch_of(rows, order, cell, first + step + 1, N, b, i, B, D)
        patience = wait_for_all(counter, (2 * step + 1) * S, scratch[3], patience, S)
        outs = forward_middle(sum_of_parts(scratch[0], start, tile, S, BP, W), middle, NET)
        pre = tl.dot(outs[K - 2], w4[0], input_precision=P) + w5[0][None, :]
        scale = 1.0 / (left * D).to(tl.float32)
        d4 = last_delta(pre, x, here, scale, LOSS, NET)
        tl.store(scratch[1] + mine, tl.dot(d4, tl.trans(w4[0]), input_precision=P))
        w4 = step_three(row, w4, tl.dot(tl.trans(outs[K - 2]), d4, input_precision=P), at4, in4, sizes, RULE)
        w5 = step_three(row, w5, tl.sum(d4, 0), at5, in5, sizes, RULE)
        patience = wait_for_all(counter, (2 * step + 2) * S, scratch[3], patience, S)
        deltas = backward_middle(sum_of_parts(scratch[1], start, tile, S, BP, W), outs, middle, NET)
        middle = step_middle(row, middle, outs, deltas, sizes, RULE, NET)
        w1 = step_three(row, w1, tl.dot(tl.trans(x), deltas[0], input_precision=P), at1, in1, sizes, RULE)
        if BS > 0:
            spot = cell.to(tl.int64) * BS * U
            accumulate((total, square), pre, spot + b[:, None] * U + (U - D) + i[None, :], here)
            if s == 0:
                accumulate_middle((total, square), spot, outs, b, left, NET, U)
                count_batch(seen, cell * BS, b, left)
        x, here, left = x2, here2, left2
    store_three(row, w1, at1, in1, RULE)
    store_three(row, w4, at4, in4, RULE)
    store_three(row, w5, at5, in5, RULE)
    if s == 0:
        store_middle(row, middle, RULE, NET)


@triton.jit(
    do_not_specialize=["first", "steps"],
    do_not_specialize_on_alignment=["rates", "tables", "total", "square", "seen"],
)
def whole_kernel(w, m, v, masks, rows, order, rates, tables, total, square, seen, n, N, first, steps,
                 RULE: tl.constexpr, NET: tl.constexpr, LOSS: tl.constexpr, BS: tl.constexpr, U: tl.constexpr,
                 B: tl.constexpr, BP: tl.constexpr, C: tl.constexpr):  # fmt: skip
    """Train one cell, stretch after stretch of C inputs."""
    D: tl.constexpr = NET[0][0]
    H: tl.constexpr = NET[0][1]
    G: tl.constexpr = NET[0][NET[3] - 1]
    W: tl.constexpr = NET[2]
    K: tl.constexpr = NET[3]
    P: tl.constexpr = NET[4]
    cell = tl.program_id(0)
    row, rate = row_of(w, m, v, masks, cell, n), tl.load(rates + cell)
    c, b = tl.arange(0, W), tl.arange(0, BP)
    middle = load_middle(row, RULE, NET)
    for step in range(steps):
        sizes = tl.load(tables + step) * rate, tl.load(tables + steps + step)
        into, back = tl.zeros((BP, W), tl.float32), tl.zeros((BP, W), tl.float32)
        for begin in range(0, D, C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(rows, order, cell, first + step, N, b, i, B, D)
            at, inside = NET[1][0] + i[:, None] * H + c[None, :], (i[:, None] < D) & (c[None, :] < H)
            into = tl.dot(x, tl.load(row[0] + at, mask=inside, other=0.0), into, input_precision=P)
        outs = forward_middle(into, middle, NET)
        spot, left = cell.to(tl.int64) * BS * U, tl.minimum(N - (first + step) * B, B)
        scale = 1.0 / (left * D).to(tl.float32)
        for begin in range(0, D, C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(rows, order, cell, first + step, N, b, i, B, D)
            at4, in4 = NET[1][2 * K - 2] + c[:, None] * D + i[None, :], (c[:, None] < G) & (i[None, :] < D)
            at5, in5 = NET[1][2 * K - 1] + i, i < D
            w4, w5 = load_three(row, at4, in4, RULE), load_three(row, at5, in5, RULE)
            pre = tl.dot(outs[K - 2], w4[0], input_precision=P) + w5[0][None, :]
            d4 = last_delta(pre, x, here, scale, LOSS, NET)
            back = tl.dot(d4, tl.trans(w4[0]), back, input_precision=P)
            grad = tl.dot(tl.trans(outs[K - 2]), d4, input_precision=P)
            store_three(row, step_three(row, w4, grad, at4, in4, sizes, RULE), at4, in4, RULE)
            store_three(row, step_three(row, w5, tl.sum(d4, 0), at5, in5, sizes, RULE), at5, in5, RULE)
            if BS > 0:
                accumulate((total, square), pre, spot + b[:, None] * U + (U - D) + i[None, :], here)
        deltas = backward_middle(back, outs, middle, NET)
        middle = step_middle(row, middle, outs, deltas, sizes, RULE, NET)
        for begin in range(0, D, C):
            i = begin + tl.arange(0, C)
            x, here, left = batch_of(rows, order, cell, first + step, N, b, i, B, D)
            at, inside = NET[1][0] + i[:, None] * H + c[None, :], (i[:, None] < D) & (c[None, :] < H)
            grad = tl.dot(tl.trans(x), deltas[0], input_precision=P)
            store_three(
                row, step_three(row, load_three(row, at, inside, RULE), grad, at, inside, sizes, RULE), at, inside, RULE
            )
        if BS > 0:
            accumulate_middle((total, square), spot, outs, b, left, NET, U)
            count_batch(seen, cell * BS, b, left)
        tl.debug_barrier()
    store_middle(row, middle, RULE, NET)
