"""A cell's pass of large batches, a few rows at a time, in pieces that two cores may share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aecompress.engines.numba.activations import ONE, Loss, loss_gradient
from aecompress.engines.numba.cell import Level, accumulate_stats, backward_input, run_forward
from aecompress.engines.numba.jit import atomic_increment, atomic_load, compiled, copy_row, yield_core
from aecompress.engines.numba.layout import (
    ACTIVATION,
    TALL,
    Floats,
    Ints,
    biases_of,
    load_cell,
    matrices_of,
    network_of,
    store_cell,
)
from aecompress.engines.numba.products import add_gradients
from aecompress.engines.numba.updates import Slopes, StepSize, Weights, update_row

WHOLE_BATCH = 32
"""Rows of a batch that are worked on at once, each row of weights being updated as soon as its gradient is known."""
CHUNK = np.int64(20)
"""Rows of a larger batch that are worked on at once; a multiple of five."""
SHARE = 1024
"""Weights that are updated at once from a larger batch's gradients."""
PATIENCE = 2000
"""Times that a core looks whether another is ready before it yields to other work: some ten microseconds."""


class Workspace(NamedTuple):
    """What the cores that share a cell share."""

    buffers: Floats
    """``[4, size]``: weights, masks and moments while they are hot."""
    slopes: Floats
    """``[2, size]``: the gradients of a batch's halves."""
    gate: Ints
    """int64 ``[2]``, 0 at first: pieces taken, pieces done."""


class Gradient(NamedTuple):
    """Views of a gradient, of the shapes of the matrices and biases."""

    matrices: list[Floats]
    biases: list[Floats]


@compiled
def claim(gate, count):
    """Take the next of ``count`` pieces of work that no core has taken; return its number, or -1 where none is left.

    Pieces are taken two by two: none before all earlier pairs are done. Who waits has taken nothing, so that a core
    that is lent to another program meanwhile keeps no other waiting.

    Args:
        gate: int64 ``[2]``, 0 at first: pieces taken, pieces done.
    """
    looks = 0
    while True:
        piece = atomic_load(gate, 0)
        if piece >= count:
            return -1
        if atomic_load(gate, 1) >= piece - piece % 2:
            if atomic_increment(gate, 0, piece):
                return piece
        else:
            looks += 1
            if looks > PATIENCE:
                yield_core()


@compiled
def release(gate):
    """Count a piece of work as done."""
    while not atomic_increment(gate, 1, atomic_load(gate, 1)):
        pass


@compiled
def add_gradient(network, slopes, rows, taken, loss):
    """Add the gradient of some rows' loss, after their forward pass, to ``slopes``, a :class:`Gradient`.

    Rows of zeros without a loss make their number a multiple of five, which the loops are fastest with.

    Args:
        rows: ``[N, D]``; taken: the indices of some of them, at most ``CHUNK``.
    """
    layers, matrices, _, out, pre, delta, _ = network
    matrix_slopes, bias_slopes = slopes
    depth, many = layers.shape[0], taken.shape[0]
    full = -(-many // 5) * 5
    target = out[0][:full]
    for b in range(many):
        copy_row(rows[taken[b]], target[b])
    for b in range(many, full):
        target[b] = 0
    run_forward(network, full)
    last = delta[depth]
    loss_gradient(loss, layers[depth - 1, ACTIVATION], pre[depth][:full], out[depth], target, last)
    for b in range(many, full):
        last[b] = 0
    for at in range(depth - 1, -1, -1):
        below, here = out[at][:full], delta[at + 1][:full]
        if at > 0:
            backward_input(layers, at, matrices[at], here, Level(pre[at][:full], below, delta[at][:full]))
        factors, lines = (here, below) if layers[at, TALL] else (below, here)
        add_gradients(factors, lines, matrix_slopes[at])
        slope = bias_slopes[at][0]
        for b in range(many):
            x = here[b]
            for c in range(slope.shape[0]):
                slope[c] += x[c]


@compiled
def update_half(weights, slopes, half, grad, rule, step_size):
    """Mask and update a half of a cell's :class:`Weights` ``[size]`` from the sum of both ``slopes``, in place.

    Args:
        grad: scratch memory ``[SHARE]``.
    """
    values, mask, first, second = weights
    one, other = slopes
    size = values.shape[0]
    shares = -(-size // SHARE)
    # By whole shares, because a loop rounds what is left over from its vectors in another way.
    for share in range(shares // 2 * half, shares if half else shares // 2):
        start, stop = share * SHARE, min((share + 1) * SHARE, size)
        left, right, both = one[start:stop], other[start:stop], grad[: stop - start]
        for c in range(both.shape[0]):
            both[c] = left[c] + right[c]
        row = Weights(values[start:stop], mask[start:stop], first[start:stop], second[start:stop])
        update_row(row, Slopes(both, row.weights), rule, step_size)


@compiled
def train_shared(layers, workspace, cell, batches, rule, stats):
    """Train one cell as :func:`aecompress.engines.numba.cell.train_cell` does, on larger batches than ``WHOLE_BATCH``.

    Two cores may call it with the same arguments and share the work. A batch has two halves, each taken a few rows at a
    time so that their values stay in the nearest caches, and each with a gradient of its own, so that the sum of the
    two is the same whoever computed them. Then the weights are updated, also half by half.

    Args:
        workspace: :class:`Workspace`, of the cell.
    """
    buffers, slopes, gate = workspace
    rows = batches.rows
    network = network_of(layers, buffers[0], CHUNK)
    matrix_slopes = [matrices_of(layers, slopes[half]) for half in range(2)]
    bias_slopes = [biases_of(layers, slopes[half]) for half in range(2)]
    weights, halves = Weights(buffers[0], buffers[1], buffers[2], buffers[3]), (slopes[0], slopes[1])
    grad = np.empty(SHARE, np.float32)
    # First the cell is loaded, then each step has two turns, and at last the cell is stored.
    turns = 2 * batches.steps.shape[0] + 2
    while True:
        piece = claim(gate, 2 * turns)
        if piece < 0:
            return
        turn, half = piece // 2, piece % 2
        step = (turn - 1) // 2
        if turn == 0:
            if half == 0:
                load_cell(layers, cell, rule, buffers)
        elif turn == turns - 1:
            if half == 0:
                store_cell(layers, cell, rule, buffers)
        elif turn % 2:
            taken = batches.order[step * batches.size : (step + 1) * batches.size]
            middle = min(-(-taken.shape[0] // 10) * 5, taken.shape[0])
            begin, end = (middle, taken.shape[0]) if half else (0, middle)
            loss = Loss(batches.loss, ONE / np.float32(taken.shape[0] * rows.shape[1]))
            slopes[half] = 0
            gradient = Gradient(matrix_slopes[half], bias_slopes[half])
            for first in range(begin, end, CHUNK):
                last = min(first + CHUNK, end)
                add_gradient(network, gradient, rows, taken[first:last], loss)
                if stats.wanted:
                    accumulate_stats(layers, network.pre, network.out, stats, last - first, first)
        else:
            step_size = StepSize(cell.rate * batches.steps[step], batches.epsilons[step])
            update_half(weights, halves, half, grad, rule, step_size)
        release(gate)
