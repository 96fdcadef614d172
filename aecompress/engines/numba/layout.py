"""How a cell lies in memory: the table of its layers, the buffer of its weights, and views of both.

Every matrix is kept with its longer side contiguous, which makes all three products of a layer loops over long rows:

    kept [in, out]   forward is `sums` over rows     backward is `dots` with rows
    kept [out, in]   forward is `dots` with rows     backward is `sums` over rows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.engines.numba.activations import ACTIVATIONS
from aecompress.engines.numba.jit import LINE, compiled, copy_row

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Masks = NDArray[np.bool_]

# Columns of the table that describes the layers.
INPUTS, OUTPUTS, TALL, STRIDE, PLACE, BIAS_PLACE, FLAT, BIAS_FLAT, ACTIVATION = range(9)


class Cell(NamedTuple):
    """One individual: rows ``[n]`` of the population's tensors, and its learning rate."""

    weights: Floats
    mask: Masks
    first: Floats
    """Adam's moments; any array where it has none."""
    second: Floats
    rate: np.float32


class Network(NamedTuple):
    """A network over a buffer: its table, a view of every matrix and bias, and memory for every level's values.

    Level 0 is the batch; layer l makes level l + 1 from level l. Padding is 0 and stays so. Views are made once,
    because making one costs as much as a small layer.
    """

    layers: Ints
    matrices: list[Floats]
    biases: list[Floats]
    out: list[Floats]
    """``[B, stride]``: values after the activation."""
    pre: list[Floats]
    """``[B, stride]``: before it."""
    delta: list[Floats]
    """``[B, stride]``: the loss's gradient there."""
    powers: NDArray[np.int32]
    """Scratch memory of the sigmoid, as wide as the widest level."""


def padded(width: int) -> int:
    """Return ``width`` rounded up to whole cache lines."""
    return -(-width // LINE) * LINE


def layer_table(layers: Sequence[tuple[int, int, str]]) -> tuple[Ints, int]:
    """Return the layers as the loops read them, int64 ``[layers, 9]``, and the floats of a cell's buffer.

    Args:
        layers: inputs, outputs and activation of each; a cell's row has weights ``[in, out]`` and biases in order.
    """
    rows, place, flat = [], 0, 0
    for inputs, outputs, activation in layers:
        tall = inputs > outputs
        stride = padded(inputs if tall else outputs)
        size = stride * (outputs if tall else inputs)
        bias_flat = flat + inputs * outputs
        rows.append(
            (inputs, outputs, int(tall), stride, place, place + size, flat, bias_flat, ACTIVATIONS.index(activation))
        )
        place, flat = place + size + padded(outputs), bias_flat + outputs
    return np.array(rows, dtype=np.int64), place


def aligned(rows: int, width: int) -> Floats:
    """Return memory for ``[rows, width]`` that begins on a cache line; ``width`` is whole lines."""
    spare = np.empty(rows * width + LINE, np.float32)
    first = (-spare.ctypes.data // spare.itemsize) % LINE
    return spare[first : first + rows * width].reshape(rows, width)


@compiled
def load_row(layers, row, buffer):
    """Copy a cell's row ``[n]`` into its buffer, padding with 0."""
    buffer[:] = 0
    for layer in layers:
        inputs, outputs, stride = layer[INPUTS], layer[OUTPUTS], layer[STRIDE]
        to, of = buffer[layer[PLACE] :], row[layer[FLAT] :]
        if layer[TALL]:
            for first in range(0, inputs, LINE):  # a line of each row at a time, or every number would cost a line
                for o in range(outputs):
                    for i in range(first, min(first + LINE, inputs)):
                        to[o * stride + i] = of[i * outputs + o]
        else:
            for i in range(inputs):
                copy_row(of[i * outputs : (i + 1) * outputs], to[i * stride : (i + 1) * stride])
        for o in range(outputs):
            buffer[layer[BIAS_PLACE] + o] = row[layer[BIAS_FLAT] + o]


@compiled
def store_row(layers, buffer, row):
    """Copy a buffer back into the cell's row."""
    for layer in layers:
        inputs, outputs, stride = layer[INPUTS], layer[OUTPUTS], layer[STRIDE]
        to, of = row[layer[FLAT] :], buffer[layer[PLACE] :]
        if layer[TALL]:
            for first in range(0, inputs, LINE):
                for o in range(outputs):
                    for i in range(first, min(first + LINE, inputs)):
                        to[i * outputs + o] = of[o * stride + i]
        else:
            for i in range(inputs):
                copy_row(of[i * stride : i * stride + outputs], to[i * outputs : (i + 1) * outputs])
        for o in range(outputs):
            row[layer[BIAS_FLAT] + o] = buffer[layer[BIAS_PLACE] + o]


@compiled
def load_cell(layers, cell, rule, buffers):
    """Copy a cell's weights, and its mask and moments where they are needed, into ``buffers`` ``[4, size]``."""
    load_row(layers, cell.weights, buffers[0])
    if rule.persistent:
        load_row(layers, cell.mask, buffers[1])
    if not rule.fresh:
        load_row(layers, cell.first, buffers[2])
        load_row(layers, cell.second, buffers[3])


@compiled
def store_cell(layers, cell, rule, buffers):
    """Copy what training changes back."""
    store_row(layers, buffers[0], cell.weights)
    if not rule.fresh:
        store_row(layers, buffers[2], cell.first)
        store_row(layers, buffers[3], cell.second)


@compiled
def stride_of(layers, level):
    """Return the floats of a row of values at a level: whole cache lines."""
    width = layers[0, INPUTS] if level == 0 else layers[level - 1, OUTPUTS]
    return -(-width // LINE) * LINE


@compiled
def widest(layers):
    """Return the floats of the widest level's row."""
    found = stride_of(layers, 0)
    for level in range(1, layers.shape[0] + 1):
        found = max(found, stride_of(layers, level))
    return found


@compiled
def level_of(layers, starts, values, level, rows):
    """Return the values of a level, ``[rows, stride]``."""
    stride = stride_of(layers, level)
    return values[starts[level] : starts[level] + rows * stride].reshape(rows, stride)


@compiled
def levels_of(layers, starts, values, rows):
    """Return every level's values, ``[rows, stride]``."""
    return [level_of(layers, starts, values, level, rows) for level in range(layers.shape[0] + 1)]


@compiled
def matrix_of(layer, weights):
    """Return a layer's weights as they are kept, the longer side contiguous."""
    height = layer[OUTPUTS] if layer[TALL] else layer[INPUTS]
    stride = layer[STRIDE]
    return weights[layer[PLACE] : layer[PLACE] + height * stride].reshape(height, stride)


@compiled
def bias_of(layer, weights):
    """Return a layer's bias as a matrix of one row, padded."""
    stride = -(-layer[OUTPUTS] // LINE) * LINE
    return weights[layer[BIAS_PLACE] : layer[BIAS_PLACE] + stride].reshape(1, stride)


@compiled
def matrices_of(layers, weights):
    """Return every layer's weights."""
    return [matrix_of(layer, weights) for layer in layers]


@compiled
def biases_of(layers, weights):
    """Return every layer's bias."""
    return [bias_of(layer, weights) for layer in layers]


@compiled
def network_of(layers, weights, rows):
    """Return the :class:`Network` of the ``weights`` in a buffer, with memory for ``rows`` rows of values."""
    depth = layers.shape[0]
    starts = np.zeros(depth + 2, np.int64)
    for level in range(depth + 1):
        starts[level + 1] = starts[level] + rows * stride_of(layers, level)
    memory = np.zeros((3, starts[depth + 1]), np.float32)
    out, pre, delta = [levels_of(layers, starts, memory[i], rows) for i in range(3)]
    powers = np.empty(widest(layers), np.int32)
    return Network(layers, matrices_of(layers, weights), biases_of(layers, weights), out, pre, delta, powers)
