"""A cell's pass of small batches, whole, and its evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.engines.numba.activations import HALF, L1, MSE, ONE, Loss, activate, activation_backward, loss_gradient
from aecompress.engines.numba.jit import compiled, copy_row, prefetch
from aecompress.engines.numba.layout import (
    ACTIVATION,
    OUTPUTS,
    TALL,
    Floats,
    Ints,
    biases_of,
    load_cell,
    matrices_of,
    network_of,
    store_cell,
    widest,
)
from aecompress.engines.numba.products import dots, sums
from aecompress.engines.numba.updates import StepSize, Weights, update_matrix

EVALUATED_ROWS = np.int64(5)
"""Rows that are evaluated together, so that their values stay in the nearest cache.

Typed, as all numbers that are given to functions: for each literal numba would compile the function anew."""


class Batches(NamedTuple):
    """Some batches of a cell's pass, one after the other."""

    rows: Floats
    """``[N, D]``: training rows."""
    order: Ints
    """int64, indices of the rows in the order in which they are taken."""
    size: int
    """Rows per batch; the last may have fewer."""
    steps: Floats
    """Per batch, the step size as a share of the cell's rate."""
    epsilons: Floats
    loss: int
    """Place of the training loss in :data:`aecompress.engines.numba.activations.LOSSES`."""


class Stats(NamedTuple):
    """Sums of the activations of each place in a batch, where they are wanted."""

    wanted: bool
    total: NDArray[np.float64]
    """``[B, U]``"""
    square: NDArray[np.float64]
    """``[B, U]``"""
    counts: NDArray[np.float64]
    """``[B]``"""


class Level(NamedTuple):
    """The values of a level, ``[B, stride]`` each: before and after its activation, and the loss's gradient before."""

    pre: Floats
    out: Floats
    delta: Floats


@compiled
def run_forward(network, many):
    """Run the forward pass of ``many`` rows: every level of ``pre`` and ``out`` from level 0 of ``out``."""
    layers, matrices, biases, out, pre, _, powers = network
    for at in range(layers.shape[0]):
        matrix, bias = matrices[at], biases[at][0]
        below, values = out[at][:many], pre[at + 1][:many]
        if layers[at, TALL]:
            dots(matrix, below, values)
            for b in range(many):
                line = values[b]
                for c in range(layers[at, OUTPUTS]):
                    line[c] += bias[c]
        else:
            for b in range(many):
                copy_row(bias, values[b])
            sums(matrix, below, values)
        activate(layers[at, ACTIVATION], layers[at, OUTPUTS], values, out[at + 1], powers[: values.shape[1]])


@compiled
def backward_input(layers, at, matrix, here, below):
    """Compute the loss's gradient before the activation of layer ``at`` - 1 from ``here``, that of layer ``at``.

    Args:
        below: :class:`Level` that layer ``at`` reads; its ``delta`` is written.
    """
    pre, out, grads = below
    if layers[at, TALL]:
        for b in range(grads.shape[0]):
            grads[b] = 0
        sums(matrix, here, grads)
    else:
        dots(matrix, here, grads)
    activation_backward(layers[at - 1, ACTIVATION], grads, pre, out)


@compiled
def accumulate_stats(layers, pre, out, stats, many, first):
    """Add the activations of ``many`` rows, of which ``first`` is the first one's place in its batch, to ``stats``."""
    total, square, counts = stats.total, stats.square, stats.counts
    depth, unit = layers.shape[0], 0
    for at in range(depth):
        values = (pre if at == depth - 1 else out)[at + 1]
        for b in range(many):
            for c in range(layers[at, OUTPUTS]):
                value = np.float64(values[b, c])
                total[first + b, unit + c] += value
                square[first + b, unit + c] += value * value
        unit += layers[at, OUTPUTS]
    for b in range(many):
        counts[first + b] += 1


@compiled
def train_cell(layers, buffers, cell, batches, rule, stats):
    """Train one cell on its batches, one after the other; its row changes in place.

    Args:
        layers: from :func:`aecompress.engines.numba.layout.layer_table`.
        buffers: float32 ``[4, size]``: weights, masks and moments while they are hot.
        cell, batches, rule, stats: :class:`aecompress.engines.numba.layout.Cell`, :class:`Batches`,
            :class:`aecompress.engines.numba.updates.Rule` and :class:`Stats`.
    """
    load_cell(layers, cell, rule, buffers)
    rows, order, batch = batches.rows, batches.order, batches.size
    depth, inputs = layers.shape[0], rows.shape[1]
    network = network_of(layers, buffers[0], batch)
    _, matrices, biases, out, pre, delta, _ = network
    masks, bias_masks = matrices_of(layers, buffers[1]), biases_of(layers, buffers[1])
    firsts, bias_firsts = matrices_of(layers, buffers[2]), biases_of(layers, buffers[2])
    seconds, bias_seconds = matrices_of(layers, buffers[3]), biases_of(layers, buffers[3])
    grad, ones = np.empty(widest(layers), np.float32), np.ones((batch, 1), np.float32)

    for step in range(batches.steps.shape[0]):
        taken = order[step * batch : (step + 1) * batch]
        many = taken.shape[0]
        for b in range(many):
            copy_row(rows[taken[b]], out[0][b])
        run_forward(network, many)
        if stats.wanted:
            accumulate_stats(layers, pre, out, stats, many, np.int64(0))

        # Backward, with the mask and the update of each row of weights as soon as its gradient is known.
        step_size = StepSize(cell.rate * batches.steps[step], batches.epsilons[step])
        loss = Loss(batches.loss, ONE / np.float32(many * inputs))
        loss_gradient(loss, layers[depth - 1, ACTIVATION], pre[depth][:many], out[depth], out[0][:many], delta[depth])
        for at in range(depth - 1, -1, -1):
            for place in range((step + 1) * batch + at, min((step + 2) * batch, order.shape[0]), depth):
                prefetch(rows[order[place]])  # some of the next batch, while this one is worked on
            below, here, matrix = out[at][:many], delta[at + 1][:many], matrices[at]
            if at > 0:
                backward_input(layers, at, matrix, here, Level(pre[at][:many], below, delta[at][:many]))
            factors, lines = (here, below) if layers[at, TALL] else (below, here)
            update_matrix(
                Weights(matrix, masks[at], firsts[at], seconds[at]),
                factors, lines, grad[: lines.shape[1]], rule, step_size,
            )  # fmt: skip
            bias = Weights(biases[at], bias_masks[at], bias_firsts[at], bias_seconds[at])
            update_matrix(bias, ones[:many], here, grad[: here.shape[1]], rule, step_size)

    store_cell(layers, cell, rule, buffers)


@compiled
def evaluate_cell(layers, buffer, rows, metric, total):
    """Return ``total``, float64, and the L1, squared or Huber losses of all values of ``rows`` ``[N, D]`` added to it.

    Of the cell in ``buffer``. It is summed in double precision, row by row.
    """
    depth, inputs = layers.shape[0], rows.shape[1]
    network = network_of(layers, buffer, EVALUATED_ROWS)
    for start in range(0, rows.shape[0], EVALUATED_ROWS):
        many = min(EVALUATED_ROWS, rows.shape[0] - start)
        target, values = network.out[0], network.out[depth]
        for b in range(many):
            copy_row(rows[start + b], target[b])
        run_forward(network, many)
        for b in range(many):
            y, t, line = values[b], target[b], np.float32(0)
            if metric == L1:
                for c in range(inputs):
                    line += abs(y[c] - t[c])
            elif metric == MSE:
                for c in range(inputs):
                    line += (y[c] - t[c]) * (y[c] - t[c])
            else:
                for c in range(inputs):
                    d = abs(y[c] - t[c])
                    line += HALF * d * d if d <= ONE else d - HALF
            total += line
    return total
