"""Training on a CPU in compiled loops: whole passes of small steps, and all of other steps but their matrix products.

At batch 5 a step of a 60,000-parameter autoencoder is some ten microseconds of arithmetic; calling a tensor library for
each of its parts costs several times that. Here a cell's weights (and moments) are copied into a buffer that stays in
the core's cache, and every step of the pass runs there: forward, backward, and gradient, mask and update of a row of
weights while that row is hot. Cells do not meet inside a generation, so each core takes the next cell; what a cell
computes depends neither on the others nor on who computes it.

A batch of more rows is worked on a few rows at a time, its gradient kept until it is whole; there two cores may share a
cell (`train_shared`).

Every matrix is kept with its longer side contiguous, which makes all three products of a layer loops over long rows:

    kept [in, out]   forward is `sums` over rows     backward is `dots` with rows
    kept [out, in]   forward is `dots` with rows     backward is `sums` over rows

A step of wide layers leaves its products to torch (`gradient`). What lies between two of them, bias and activation,
loss, the way back through an activation and the sums of the biases, is one loop over values that are still hot; mask
and update (`masked_update`) are one loop over the weights.

The loops are compiled by numba for the machine they run on, and the compiled code is kept between processes. They are
in one file, because what is kept of a loop outlives a change of one that it calls from another file.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import operator
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray
from torch import Tensor

from aecompress import rng
from aecompress.engines import eager, workers
from aecompress.engines.base import Evaluation
from aecompress.engines.eager import Products
from aecompress.engines.training import Training, step_size, steps_per_generation
from aecompress.nets import autoencoder
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.layers import Trace, product
from aecompress.nets.rows import RowSet
from aecompress.population.state import Population

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Columns of the table that describes the layers.
INPUTS, OUTPUTS, TALL, STRIDE, PLACE, BIAS_PLACE, FLAT, BIAS_FLAT, ACTIVATION = range(9)
ACTIVATIONS = ("identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid")
IDENTITY, RELU, LEAKY, GELU, TANH, SIGMOID = range(6)
LOSSES = ("l1", "mse", "bce", "huber")
L1, MSE, BCE, HUBER = range(4)
WHOLE_BATCH = 32
"""Rows of a batch that are worked on at once, each row of weights being updated as soon as its gradient is known."""
CHUNK = 20
"""Rows of a larger batch that are worked on at once; a multiple of five."""
SHARE = 1024
"""Weights that are updated at once from a larger batch's gradients."""
PATIENCE = 2000
"""Times that a core looks whether another is ready before it gives way to other work: some ten microseconds."""
MEASURE_ROWS = 5
"""Rows that are evaluated together, so that their values stay in the nearest cache."""
LINE = 16
"""Floats of a cache line: rows are padded to whole lines."""
NEAREST = 3
"""The cache nearest to the core, as `llvm.prefetch` counts them."""

ONE, HALF = np.float32(1), np.float32(0.5)
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
ROOT_HALF, GAUSS = np.float32(2**-0.5), np.float32((2 * np.pi) ** -0.5)

# Sums may be reordered and products joined, which is what lets the compiler use whole vectors; infinities and
# not-a-numbers keep their meaning, so a lost cell stays lost.
compiled = njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
# In Adam's update a quotient may also be an estimate and a step of Newton's, right to the rounding of float32.
estimating = njit(
    nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp", "afn", "ninf"}, error_model="numpy"
)


def padded(width: int) -> int:
    """``width`` rounded up to whole cache lines."""
    return -(-width // LINE) * LINE


def table(layers: Sequence[tuple[int, int, str]]) -> tuple[Ints, int]:
    """The layers as the loops read them, and the floats of a cell's buffer.

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


@intrinsic
def _prefetch(context, array, place):  # type: ignore[no-untyped-def]
    """Ask for the cache line of ``array[place]``, to be brought to the nearest cache."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        made = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        line = builder.bitcast(builder.gep(made.data, [values[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [line, number(0), number(NEAREST), number(1)])
        return context.get_dummy_value()

    return types.void(array, place), generate


@compiled
def prefetch(row):  # type: ignore[no-untyped-def]
    """Bring a row of the next batch nearer, while this one is worked on."""
    for c in range(0, row.shape[0], LINE):
        _prefetch(row, c)  # type: ignore[call-arg]  # numba gives the context itself


def wide(value):  # type: ignore[no-untyped-def]
    """A number as float32, from itself or from the bits of a bfloat16 one, which are the upper half of it."""


@overload(wide)
def _wide(value):  # type: ignore[no-untyped-def]
    if value == types.int16:
        return lambda value: np.int32(np.int32(value) << np.int32(16)).view(np.float32)
    return lambda value: value


def put(row, place, value):  # type: ignore[no-untyped-def]
    """``row[place] = value``; where the row holds bits of bfloat16, rounded to the nearest of them, ties to even."""


@overload(put)
def _put(row, place, value):  # type: ignore[no-untyped-def]
    if row.dtype != types.int16:
        return lambda row, place, value: operator.setitem(row, place, value)

    def rounded(row, place, value):  # type: ignore[no-untyped-def]
        bits = np.float32(value).view(np.int32)
        row[place] = np.int16((bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> np.int32(16))

    return rounded


def renew(copy, place, value):  # type: ignore[no-untyped-def]
    """:func:`put` where ``copy`` holds bits of bfloat16; else it is the weights themselves, which are already new."""


@overload(renew)
def _renew(copy, place, value):  # type: ignore[no-untyped-def]
    if copy.dtype == types.int16:
        return lambda copy, place, value: put(copy, place, value)
    return lambda copy, place, value: None


@compiled
def copy_row(source, target):  # type: ignore[no-untyped-def]
    """A loop of one's own is copied by whole vectors; an assigned slice is not."""
    for c in range(source.shape[0]):
        target[c] = source[c]


@compiled
def load(layers, row, buffer):  # type: ignore[no-untyped-def]
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
def store(layers, buffer, row):  # type: ignore[no-untyped-def]
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
def dots(matrix, rows, out):  # type: ignore[no-untyped-def]
    """``out[b, r] = sum over c of matrix[r, c] rows[b, c]``.

    Two matrix rows against five b at a time: ten sums stay in registers, and what is read is used several times.
    """
    many, width = rows.shape
    height = matrix.shape[0]
    pairs, fives = height - height % 2, many - many % 5
    for r in range(0, pairs, 2):
        m, n = matrix[r], matrix[r + 1]
        for b in range(0, fives, 5):
            x0, x1, x2, x3, x4 = rows[b], rows[b + 1], rows[b + 2], rows[b + 3], rows[b + 4]
            s0 = s1 = s2 = s3 = s4 = t0 = t1 = t2 = t3 = t4 = np.float32(0)
            for c in range(width):
                s0 += m[c] * x0[c]
                s1 += m[c] * x1[c]
                s2 += m[c] * x2[c]
                s3 += m[c] * x3[c]
                s4 += m[c] * x4[c]
                t0 += n[c] * x0[c]
                t1 += n[c] * x1[c]
                t2 += n[c] * x2[c]
                t3 += n[c] * x3[c]
                t4 += n[c] * x4[c]
            out[b, r], out[b + 1, r], out[b + 2, r], out[b + 3, r], out[b + 4, r] = s0, s1, s2, s3, s4
            out[b, r + 1], out[b + 1, r + 1], out[b + 2, r + 1], out[b + 3, r + 1], out[b + 4, r + 1] = (
                t0,
                t1,
                t2,
                t3,
                t4,
            )
    for r in range(height):
        m = matrix[r]
        for b in range(fives if r < pairs else 0, many):
            x0, s0 = rows[b], np.float32(0)
            for c in range(width):
                s0 += m[c] * x0[c]
            out[b, r] = s0


@compiled
def sums(matrix, factors, out):  # type: ignore[no-untyped-def]
    """``out[b, c] += sum over r of factors[b, r] matrix[r, c]``.

    Three matrix rows against five b at a time: fifteen factors stay in registers, and what is read is used several
    times.
    """
    height, width = matrix.shape
    many = out.shape[0]
    threes, fives = height - height % 3, many - many % 5
    for b in range(0, fives, 5):
        y0, y1, y2, y3, y4 = out[b], out[b + 1], out[b + 2], out[b + 3], out[b + 4]
        f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
        for r in range(0, threes, 3):
            m0, m1, m2 = matrix[r], matrix[r + 1], matrix[r + 2]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            t0, t1, t2, t3, t4 = f0[r + 1], f1[r + 1], f2[r + 1], f3[r + 1], f4[r + 1]
            u0, u1, u2, u3, u4 = f0[r + 2], f1[r + 2], f2[r + 2], f3[r + 2], f4[r + 2]
            for c in range(width):
                x0, x1, x2 = m0[c], m1[c], m2[c]
                y0[c] += s0 * x0 + t0 * x1 + u0 * x2
                y1[c] += s1 * x0 + t1 * x1 + u1 * x2
                y2[c] += s2 * x0 + t2 * x1 + u2 * x2
                y3[c] += s3 * x0 + t3 * x1 + u3 * x2
                y4[c] += s4 * x0 + t4 * x1 + u4 * x2
    for b in range(many):
        line = out[b]
        for r in range(threes if b < fives else 0, height):
            x0, s0 = matrix[r], factors[b, r]
            for c in range(width):
                line[c] += s0 * x0[c]


@compiled
def gradient_row(factors, lines, r, grad):  # type: ignore[no-untyped-def]
    """``grad[c] = sum over b of factors[b, r] lines[b, c]``: row r of a layer's gradient, five b at a time."""
    many = lines.shape[0]
    if many >= 5:
        f0, f1, f2, f3, f4 = factors[0, r], factors[1, r], factors[2, r], factors[3, r], factors[4, r]
        x0, x1, x2, x3, x4 = lines[0], lines[1], lines[2], lines[3], lines[4]
        for c in range(grad.shape[0]):
            grad[c] = f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
    else:
        grad[:] = 0
    left = 5 * (many // 5)
    for b in range(5, left, 5):
        f0, f1, f2, f3, f4 = factors[b, r], factors[b + 1, r], factors[b + 2, r], factors[b + 3, r], factors[b + 4, r]
        x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
        for c in range(grad.shape[0]):
            grad[c] += f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
    for b in range(left, many):
        f0, x0 = factors[b, r], lines[b]
        for c in range(grad.shape[0]):
            grad[c] += f0 * x0[c]


@compiled
def add_gradients(factors, lines, grads):  # type: ignore[no-untyped-def]
    """``grads[r, c] += sum over b of factors[b, r] lines[b, c]``, of a multiple of five b.

    Four rows of a layer's gradient against five b at a time.
    """
    height = grads.shape[0]
    fours = height - height % 4
    for r in range(0, fours, 4):
        g, h, i, j = grads[r], grads[r + 1], grads[r + 2], grads[r + 3]
        for b in range(0, lines.shape[0], 5):
            x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
            f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            t0, t1, t2, t3, t4 = f0[r + 1], f1[r + 1], f2[r + 1], f3[r + 1], f4[r + 1]
            u0, u1, u2, u3, u4 = f0[r + 2], f1[r + 2], f2[r + 2], f3[r + 2], f4[r + 2]
            v0, v1, v2, v3, v4 = f0[r + 3], f1[r + 3], f2[r + 3], f3[r + 3], f4[r + 3]
            for c in range(g.shape[0]):
                y0, y1, y2, y3, y4 = x0[c], x1[c], x2[c], x3[c], x4[c]
                g[c] += s0 * y0 + s1 * y1 + s2 * y2 + s3 * y3 + s4 * y4
                h[c] += t0 * y0 + t1 * y1 + t2 * y2 + t3 * y3 + t4 * y4
                i[c] += u0 * y0 + u1 * y1 + u2 * y2 + u3 * y3 + u4 * y4
                j[c] += v0 * y0 + v1 * y1 + v2 * y2 + v3 * y3 + v4 * y4
    for r in range(fours, height):
        g = grads[r]
        for b in range(0, lines.shape[0], 5):
            x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
            f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            for c in range(g.shape[0]):
                g[c] += s0 * x0[c] + s1 * x1[c] + s2 * x2[c] + s3 * x3[c] + s4 * x4[c]


@intrinsic
def joined(context, first, second, added):  # type: ignore[no-untyped-def]
    """``first * second + added``, rounded once where the processor can.

    Of two products that are added, a compiler is free to join either, and does not choose alike in every loop.
    """

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [ir.FloatType()], kind), values)

    return types.float32(types.float32, types.float32, types.float32), generate


@estimating
def adam_row(  # type: ignore[no-untyped-def]
    weights, copy, slopes, mask, persistent, first, second, size, epsilon, rest1, beta2, rest2
):
    """The mask and the update of :func:`aecompress.evolve.training.adam` from the gradient ``slopes``, in place.

    The gradient may be the bits of bfloat16; then so is ``copy``, which is renewed with the weights.
    """
    for c in range(weights.shape[0]):
        slope = wide(slopes[c])
        if persistent:
            slope *= mask[c]  # a pruned weight has no gradient
        moment = first[c] + rest1 * (slope - first[c])
        square: Any = joined(beta2, second[c], rest2 * (slope * slope))  # type: ignore[call-arg]  # as above
        first[c] = moment
        second[c] = square
        value = weights[c] - size * (moment / (np.sqrt(square) + epsilon))
        weights[c] = value
        renew(copy, c, value)


@compiled
def fresh_adam_row(weights, copy, slopes, mask, persistent, size, epsilon):  # type: ignore[no-untyped-def]
    """The same with the update of :func:`aecompress.evolve.training.fresh_adam`."""
    for c in range(weights.shape[0]):
        slope = wide(slopes[c])
        if persistent:
            slope *= mask[c]
        value = weights[c] - size * (slope / (abs(slope) + epsilon))
        weights[c] = value
        renew(copy, c, value)


@compiled
def update_fresh_of_five(matrix, factors, lines, size, epsilon):  # type: ignore[no-untyped-def]
    """Gradient and fresh-Adam update in one loop, at the published batch of five: it waits on division alone."""
    x0, x1, x2, x3, x4 = lines[0], lines[1], lines[2], lines[3], lines[4]
    for r in range(matrix.shape[0]):
        row = matrix[r]
        f0, f1, f2, f3, f4 = factors[0, r], factors[1, r], factors[2, r], factors[3, r], factors[4, r]
        for c in range(row.shape[0]):
            g = f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
            row[c] -= size * (g / (abs(g) + epsilon))


@compiled
def update(  # type: ignore[no-untyped-def]
    fresh, persistent, matrix, masks, firsts, seconds, factors, lines, grad, size, epsilon, rest1, beta2, rest2
):
    """Gradient, mask and update of a layer's matrix, row by row, while the row is hot; in place."""
    if fresh and not persistent and lines.shape[0] == 5:
        update_fresh_of_five(matrix, factors, lines, size, epsilon)
        return
    for r in range(matrix.shape[0]):
        row = matrix[r]
        gradient_row(factors, lines, r, grad)
        if fresh:  # chosen here, because a call of `update_row` makes Adam's steps a twentieth slower
            fresh_adam_row(row, row, grad, masks[r], persistent, size, epsilon)
        else:
            adam_row(row, row, grad, masks[r], persistent, firsts[r], seconds[r], size, epsilon, rest1, beta2, rest2)


@compiled
def sigmoid_row(x, y, powers):  # type: ignore[no-untyped-def]
    """``y = 1 / (1 + exp(-x))``, exp to a few units in the last place: 2^n by its bits, the rest by a polynomial
    (Cephes expf).

    The three arrays must not overlap, or the compiler cannot use whole vectors.
    """
    for c in range(x.shape[0]):
        v = -x[c]
        v = v if v > np.float32(-87) else np.float32(-87)
        v = v if v < np.float32(87) else np.float32(87)
        n = np.floor(v * LOG2E + HALF)
        r = (v - n * LN2_HIGH) - n * LN2_LOW
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        y[c] = p * r * r + r + ONE
        powers[c] = (np.int32(n) + np.int32(127)) << np.int32(23)
    scale = powers.view(np.float32)
    for c in range(x.shape[0]):
        # Only not-a-number, which the bounds above hide, differs from itself.
        y[c] = ONE / (ONE + y[c] * scale[c]) if x[c] == x[c] else x[c]


@compiled
def activate(kind, width, pre, out, powers):  # type: ignore[no-untyped-def]
    """``out`` from the values before the activation, row by row. Padding stays 0."""
    for b in range(pre.shape[0]):
        x, y = pre[b], out[b]
        if kind == IDENTITY:
            copy_row(x, y)
        elif kind == RELU:
            for c in range(x.shape[0]):
                y[c] = np.float32(0) if x[c] < 0 else x[c]
        elif kind == LEAKY:
            for c in range(x.shape[0]):
                y[c] = x[c] if x[c] > 0 else np.float32(0.01) * x[c]
        elif kind == GELU:
            for c in range(x.shape[0]):
                y[c] = x[c] * HALF * (ONE + np.float32(math.erf(x[c] * ROOT_HALF)))
        elif kind == TANH:
            for c in range(x.shape[0]):
                y[c] = np.tanh(x[c])
        else:
            sigmoid_row(x, y, powers)
            for c in range(width, x.shape[0]):
                y[c] = np.float32(0)


@compiled
def through(kind, grad, pre, out):  # type: ignore[no-untyped-def]
    """The gradient behind an activation becomes that before it, in place, row by row."""
    for b in range(pre.shape[0]):
        g, x, y = grad[b], pre[b], out[b]
        if kind == RELU:
            for c in range(x.shape[0]):
                g[c] = g[c] if y[c] > 0 else np.float32(0)
        elif kind == LEAKY:
            for c in range(x.shape[0]):
                g[c] = g[c] if y[c] > 0 else np.float32(0.01) * g[c]
        elif kind == GELU:
            for c in range(x.shape[0]):
                density = GAUSS * np.exp(-HALF * x[c] * x[c])
                g[c] *= HALF * (ONE + np.float32(math.erf(x[c] * ROOT_HALF))) + x[c] * density
        elif kind == TANH:
            for c in range(x.shape[0]):
                g[c] *= ONE - y[c] * y[c]
        elif kind == SIGMOID:
            for c in range(x.shape[0]):
                g[c] *= y[c] * (ONE - y[c])


@compiled
def loss_gradient(loss, kind, pre, out, target, scale, grad):  # type: ignore[no-untyped-def]
    """``scale`` times the gradient of the summed loss before the last activation, into ``grad``."""
    for b in range(pre.shape[0]):
        g, y, t = grad[b], out[b], target[b]
        if loss == L1:
            for c in range(g.shape[0]):
                d = y[c] - t[c]
                g[c] = scale if d > 0 else (-scale if d < 0 else scale * d)
        elif loss == MSE:
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) * (scale + scale)
        elif loss == HUBER:
            for c in range(g.shape[0]):
                d = y[c] - t[c]
                g[c] = scale * (ONE if d > 1 else (-ONE if d < -1 else d))
        elif kind == SIGMOID:  # cross-entropy after a sigmoid: exact where the sigmoid is saturated
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) * scale
        else:
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) / max(y[c] * (ONE - y[c]), np.float32(1e-12)) * scale
    if loss != BCE or kind != SIGMOID:
        through(kind, grad, pre, out)


@compiled
def stride_of(layers, level):  # type: ignore[no-untyped-def]
    """Floats of a row of values at a level: whole cache lines."""
    width = layers[0, INPUTS] if level == 0 else layers[level - 1, OUTPUTS]
    return -(-width // LINE) * LINE


@compiled
def level_of(layers, starts, values, level, many):  # type: ignore[no-untyped-def]
    """The values of a level, ``[many, stride]``."""
    stride = stride_of(layers, level)
    return values[starts[level] : starts[level] + many * stride].reshape(many, stride)


@compiled
def matrix_of(layer, weights):  # type: ignore[no-untyped-def]
    """A layer's weights as they are kept, the longer side contiguous."""
    height = layer[OUTPUTS] if layer[TALL] else layer[INPUTS]
    stride = layer[STRIDE]
    return weights[layer[PLACE] : layer[PLACE] + height * stride].reshape(height, stride)


@compiled
def bias_of(layer, weights):  # type: ignore[no-untyped-def]
    """A layer's bias as a matrix of one row, padded."""
    stride = -(-layer[OUTPUTS] // LINE) * LINE
    return weights[layer[BIAS_PLACE] : layer[BIAS_PLACE] + stride].reshape(1, stride)


@compiled
def matrices_of(layers, weights):  # type: ignore[no-untyped-def]
    """Every layer's weights; views are made once, because making one costs as much as a small layer."""
    return [matrix_of(layer, weights) for layer in layers]


@compiled
def biases_of(layers, weights):  # type: ignore[no-untyped-def]
    """Every layer's bias."""
    return [bias_of(layer, weights) for layer in layers]


@compiled
def levels_of(layers, starts, values, batch):  # type: ignore[no-untyped-def]
    """Every level's values, ``[batch, stride]``."""
    return [level_of(layers, starts, values, level, batch) for level in range(layers.shape[0] + 1)]


@compiled
def run_forward(layers, matrices, biases, pre, out, many, powers):  # type: ignore[no-untyped-def]
    """The forward pass: every level of ``pre`` and ``out`` from level 0 of ``out``."""
    for l in range(layers.shape[0]):  # noqa: E741
        matrix, bias = matrices[l], biases[l][0]
        below, values = out[l][:many], pre[l + 1][:many]
        if layers[l, TALL]:
            dots(matrix, below, values)
            for b in range(many):
                line = values[b]
                for c in range(layers[l, OUTPUTS]):
                    line[c] += bias[c]
        else:
            for b in range(many):
                copy_row(bias, values[b])
            sums(matrix, below, values)
        activate(layers[l, ACTIVATION], layers[l, OUTPUTS], values, out[l + 1], powers[: values.shape[1]])


@compiled
def values_of(layers, many):  # type: ignore[no-untyped-def]
    """Room for every level's values of ``many`` rows: after the activation, before it, and the loss's gradient there.

    Level 0 is the batch; layer l makes level l + 1 from level l. Padding is 0 and stays so.
    """
    depth = layers.shape[0]
    starts = np.zeros(depth + 2, np.int64)
    for level in range(depth + 1):
        starts[level + 1] = starts[level] + many * stride_of(layers, level)
    room = np.zeros((3, starts[depth + 1]), np.float32)
    out, pre, delta = [levels_of(layers, starts, room[i], many) for i in range(3)]
    return out, pre, delta


@compiled
def widest(layers):  # type: ignore[no-untyped-def]
    """Floats of the widest level's row."""
    found = stride_of(layers, 0)
    for level in range(1, layers.shape[0] + 1):
        found = max(found, stride_of(layers, level))
    return found


@compiled
def load_cell(layers, buffers, row, row_mask, row_first, row_second, fresh, persistent):  # type: ignore[no-untyped-def]
    """Copy a cell's weights, and its mask and moments where they are needed, into ``buffers`` ``[4, size]``."""
    load(layers, row, buffers[0])
    if persistent:
        load(layers, row_mask, buffers[1])
    if not fresh:
        load(layers, row_first, buffers[2])
        load(layers, row_second, buffers[3])


@compiled
def store_cell(layers, buffers, row, row_first, row_second, fresh):  # type: ignore[no-untyped-def]
    """Copy what training changes back."""
    store(layers, buffers[0], row)
    if not fresh:
        store(layers, buffers[2], row_first)
        store(layers, buffers[3], row_second)


@compiled
def watch(layers, pre, out, many, total, square, count):  # type: ignore[no-untyped-def]
    """Gather the activations of ``many`` rows in ``total`` and ``square`` ``[B, U]`` and ``count`` ``[B]``."""
    depth, unit = layers.shape[0], 0
    for l in range(depth):  # noqa: E741
        seen = (pre if l == depth - 1 else out)[l + 1]
        for b in range(many):
            for c in range(layers[l, OUTPUTS]):
                value = np.float64(seen[b, c])
                total[b, unit + c] += value
                square[b, unit + c] += value * value
        unit += layers[l, OUTPUTS]
    for b in range(many):
        count[b] += 1


@compiled
def send_back(layers, l, matrix, here, pre, below, grads):  # type: ignore[no-untyped-def]  # noqa: E741
    """``grads``, the loss's gradient before the activation of layer l - 1, from ``here``, that of layer l."""
    if layers[l, TALL]:
        for b in range(grads.shape[0]):
            grads[b] = 0
        sums(matrix, here, grads)
    else:
        dots(matrix, here, grads)
    through(layers[l - 1, ACTIVATION], grads, pre, below)


@compiled
def train_cell(  # type: ignore[no-untyped-def]
    layers, buffers, row, row_mask, row_first, row_second, rows, order, batch, sizes, epsilons, betas, rate,
    loss, fresh, persistent, watched, total, square, count,
):  # fmt: skip
    """Train one cell on the batches that ``order`` holds, one after the other; its row changes in place.

    Args:
        layers: from :func:`table`.
        buffers: float32 ``[4, size]``: weights, masks and moments while they are hot.
        row, row_mask, row_first, row_second: the cell's weights, masks and moments ``[n]``.
        rows: ``[N, D]``; order: int64 indices of the rows in the order they are taken; batch: rows per step.
        sizes, epsilons: per step, the step size as a share of the cell's rate, and epsilon.
        betas: 1 - beta1, beta2 and 1 - beta2 of Adam, unless ``fresh``; rate: the cell's learning rate.
        persistent: whether masks hold.
        watched: whether ``total``, ``square`` ``[B, U]`` and ``count`` ``[B]`` gather activations.
    """
    load_cell(layers, buffers, row, row_mask, row_first, row_second, fresh, persistent)
    weights, mask, first, second = buffers[0], buffers[1], buffers[2], buffers[3]
    depth, inputs = layers.shape[0], rows.shape[1]
    out, pre, delta = values_of(layers, batch)
    matrices, biases = matrices_of(layers, weights), biases_of(layers, weights)
    masks, bias_masks = matrices_of(layers, mask), biases_of(layers, mask)
    firsts, bias_firsts = matrices_of(layers, first), biases_of(layers, first)
    seconds, bias_seconds = matrices_of(layers, second), biases_of(layers, second)
    line = widest(layers)
    grad, powers = np.empty(line, np.float32), np.empty(line, np.int32)
    ones = np.ones((batch, 1), np.float32)
    rest1, beta2, rest2 = betas

    for step in range(sizes.shape[0]):
        taken = order[step * batch : (step + 1) * batch]
        many = taken.shape[0]
        target = out[0][:many]
        for b in range(many):
            copy_row(rows[taken[b]], target[b])

        run_forward(layers, matrices, biases, pre, out, many, powers)
        if watched:
            watch(layers, pre, out, many, total, square, count)

        # Backward, with the mask and the update of each row of weights as soon as its gradient is known.
        size, epsilon, scale = rate * sizes[step], epsilons[step], ONE / np.float32(many * inputs)
        loss_gradient(loss, layers[depth - 1, ACTIVATION], pre[depth][:many], out[depth], target, scale, delta[depth])
        for l in range(depth - 1, -1, -1):  # noqa: E741
            layer, matrix = layers[l], matrices[l]
            for place in range((step + 1) * batch + l, min((step + 2) * batch, order.shape[0]), depth):
                prefetch(rows[order[place]])  # some of the next batch, while this one is worked on
            below, here = out[l][:many], delta[l + 1][:many]
            if l > 0:
                send_back(layers, l, matrix, here, pre[l][:many], below, delta[l][:many])
            factors, lines = (here, below) if layer[TALL] else (below, here)
            update(
                fresh, persistent, matrix, masks[l], firsts[l], seconds[l],
                factors, lines, grad[: matrix.shape[1]], size, epsilon, rest1, beta2, rest2,
            )  # fmt: skip
            update(
                fresh, persistent, biases[l], bias_masks[l], bias_firsts[l], bias_seconds[l],
                ones[:many], here, grad[: here.shape[1]], size, epsilon, rest1, beta2, rest2,
            )  # fmt: skip

    store_cell(layers, buffers, row, row_first, row_second, fresh)


@intrinsic
def _seen(context, gate, place):  # type: ignore[no-untyped-def]
    """``gate[place]`` as every core sees it."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        made = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        return builder.load_atomic(builder.gep(made.data, [values[1]]), "seq_cst", 8)

    return types.int64(gate, place), generate


@intrinsic
def _raised(context, gate, place, old):  # type: ignore[no-untyped-def]
    """Add 1 to ``gate[place]`` if it is still ``old``; tells whether it was."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        made = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        number, new = values[2], builder.add(values[2], ir.Constant(ir.IntType(64), 1))
        found = builder.cmpxchg(builder.gep(made.data, [values[1]]), number, new, "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(gate, place, old), generate


give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())
"""Lets another thread have this core."""


@compiled
def next_of_two(gate, count):  # type: ignore[no-untyped-def]
    """The next piece of work nobody took, of ``count``; -1 where there is none left.

    Pieces are taken two by two: none before all earlier pairs are done. Who waits has taken nothing, so that a core
    that is lent to another program meanwhile keeps nobody waiting.

    Args:
        gate: int64 ``[2]``, 0 at first: pieces taken, pieces done.
    """
    looks = 0
    while True:
        piece: int = _seen(gate, 0)  # type: ignore[call-arg]  # numba gives the context itself
        if piece >= count:
            return -1
        if _seen(gate, 1) >= piece - piece % 2:
            if _raised(gate, 0, piece):
                return piece
        else:
            looks += 1
            if looks > PATIENCE:
                give_way()


@compiled
def done_with(gate):  # type: ignore[no-untyped-def]
    """Tell that a piece of work is done."""
    while not _raised(gate, 1, _seen(gate, 1)):  # type: ignore[call-arg]  # as above
        pass


@compiled
def add_gradient_of(  # type: ignore[no-untyped-def]
    layers, matrices, biases, slopes, bias_slopes, out, pre, delta, rows, taken, loss, scale, powers,
    watched, total, square, count,
):  # fmt: skip
    """Add the gradient of some rows' loss, the indices ``taken``, at most ``CHUNK``, to ``slopes``.

    Rows of zeros without a loss make their number a multiple of five, which the loops are fastest with.
    """
    depth, many = layers.shape[0], taken.shape[0]
    full = -(-many // 5) * 5
    target = out[0][:full]
    for b in range(many):
        copy_row(rows[taken[b]], target[b])
    for b in range(many, full):
        target[b] = 0
    run_forward(layers, matrices, biases, pre, out, full, powers)
    if watched:
        watch(layers, pre, out, many, total, square, count)
    last = delta[depth]
    loss_gradient(loss, layers[depth - 1, ACTIVATION], pre[depth][:full], out[depth], target, scale, last)
    for b in range(many, full):
        last[b] = 0
    for l in range(depth - 1, -1, -1):  # noqa: E741
        below, here = out[l][:full], delta[l + 1][:full]
        if l > 0:
            send_back(layers, l, matrices[l], here, pre[l][:full], below, delta[l][:full])
        factors, lines = (here, below) if layers[l, TALL] else (below, here)
        add_gradients(factors, lines, slopes[l])
        slope = bias_slopes[l][0]
        for b in range(many):
            x = here[b]
            for c in range(slope.shape[0]):
                slope[c] += x[c]


@compiled
def train_shared(  # type: ignore[no-untyped-def]
    layers, buffers, slopes, gate, row, row_mask, row_first, row_second, rows, order, batch, sizes, epsilons, betas,
    rate, loss, fresh, persistent, watched, total, square, count,
):  # fmt: skip
    """What :func:`train_cell` does, for batches of more than ``WHOLE_BATCH`` rows.

    Two cores may call it with the same arguments and share the work. A batch has two halves, each taken a few rows at a
    time so that their values stay in the nearest caches, and each with a gradient of its own, so that the sum of the
    two is the same whoever made them. Then the weights are updated, also half by half.

    Args:
        buffers: the cell's; slopes: float32 ``[2, size]``, room for the halves' gradients.
        gate: of :func:`next_of_two`.
    """
    weights, mask, first, second = buffers[0], buffers[1], buffers[2], buffers[3]
    out, pre, delta = values_of(layers, CHUNK)
    matrices, biases = matrices_of(layers, weights), biases_of(layers, weights)
    matrix_slopes = [matrices_of(layers, slopes[half]) for half in range(2)]
    bias_slopes = [biases_of(layers, slopes[half]) for half in range(2)]
    grad, powers = np.empty(SHARE, np.float32), np.empty(widest(layers), np.int32)
    rest1, beta2, rest2 = betas
    size_of, shares = weights.shape[0], -(-weights.shape[0] // SHARE)
    turns = 2 * sizes.shape[0] + 2  # first the cell is loaded, then each step has two, and at last the cell is stored
    while True:
        piece = next_of_two(gate, 2 * turns)
        if piece < 0:
            return
        turn, half = piece // 2, piece % 2
        step = (turn - 1) // 2
        if turn == 0:
            if half == 0:
                load_cell(layers, buffers, row, row_mask, row_first, row_second, fresh, persistent)
        elif turn == turns - 1:
            if half == 0:
                store_cell(layers, buffers, row, row_first, row_second, fresh)
        elif turn % 2:
            taken = order[step * batch : (step + 1) * batch]
            middle = min(-(-taken.shape[0] // 10) * 5, taken.shape[0])
            scale = ONE / np.float32(taken.shape[0] * rows.shape[1])
            begin, end = (middle, taken.shape[0]) if half else (0, middle)
            slopes[half] = 0
            for place in range(begin, end, CHUNK):
                add_gradient_of(
                    layers, matrices, biases, matrix_slopes[half], bias_slopes[half], out, pre, delta, rows,
                    taken[place : min(place + CHUNK, end)], loss, scale, powers,
                    watched, total[place:], square[place:], count[place:],
                )  # fmt: skip
        else:
            size, epsilon = rate * sizes[step], epsilons[step]
            # By whole shares, because a loop rounds what is left over from its vectors in another way.
            for share in range(shares // 2 * half, shares if half else shares // 2):
                start, stop = share * SHARE, min((share + 1) * SHARE, size_of)
                one, other, both = slopes[0, start:stop], slopes[1, start:stop], grad[: stop - start]
                for c in range(both.shape[0]):
                    both[c] = one[c] + other[c]
                own = weights[start:stop]
                update_row(
                    persistent, fresh, own, own, both, mask[start:stop], first[start:stop], second[start:stop],
                    size, epsilon, rest1, beta2, rest2,
                )  # fmt: skip
        done_with(gate)


@compiled
def evaluate_cell(layers, buffer, rows, metric):  # type: ignore[no-untyped-def]
    """Mean L1, squared or Huber loss of the cell in ``buffer`` on ``rows`` ``[N, D]``, summed in double precision."""
    depth, inputs = layers.shape[0], rows.shape[1]
    out, pre, _ = values_of(layers, MEASURE_ROWS)
    matrices, biases = matrices_of(layers, buffer), biases_of(layers, buffer)
    powers = np.empty(widest(layers), np.int32)
    total = np.float64(0)
    for start in range(0, rows.shape[0], MEASURE_ROWS):
        many = min(MEASURE_ROWS, rows.shape[0] - start)
        target, values = out[0], out[depth]
        for b in range(many):
            copy_row(rows[start + b], target[b])
        run_forward(layers, matrices, biases, pre, out, many, powers)
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
    return total / (rows.shape[0] * inputs)


def evaluate(
    net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Callable[[], None]
) -> Evaluation:
    """What :func:`aecompress.engines.eager.evaluate` does, a cell per core."""
    if metric == "bce":
        return eager.evaluate(net, weights, parts, metric, poll)
    layers, floats = table([(layer.inputs, layer.outputs, layer.activation) for layer in net.layers])
    own, sources, loss = (
        weights.numpy(),
        [part.numpy() for part in parts if isinstance(part, Tensor)],
        LOSSES.index(metric),
    )
    ends = np.cumsum(net.layer_sizes)

    def one(cell: int) -> tuple[list[float], list[int]]:
        buffer, row = aligned(1, floats)[0], own[cell, : net.model_size]
        load(layers, own[cell], buffer)
        zeros = [part.size - int(np.count_nonzero(part)) for part in np.split(row, ends[:-1])]
        return [evaluate_cell(layers, buffer, source, loss) for source in sources], zeros

    cells = max(1, CALL_FLOP // (2 * net.layout.size * sum(len(source) for source in sources)))
    found: list[tuple[list[float], list[int]]] = []
    for first in range(0, len(own), cells):
        poll()
        found += workers.each(one, range(first, min(first + cells, len(own))))
    losses = torch.tensor([losses for losses, _ in found], dtype=weights.dtype)
    return Evaluation(list(losses.T), torch.tensor([zeros for _, zeros in found], dtype=torch.int32))


@compiled
def sort_places(words, order):  # type: ignore[no-untyped-def]
    """Into ``order``, the places of random ``words``, int64 ``[N]``, from the lowest word to the highest.

    Its highest bits say where among N a word belongs, to within a few places. Equal words stay as they lie.
    """
    many = words.shape[0]
    bits = 1
    while 1 << bits < many:
        bits += 1
    free, found = np.zeros((1 << bits) + 1, np.int64), np.empty(many, np.int64)
    shift, half = 64 - bits, 1 << (bits - 1)
    for i in range(many):
        free[(words[i] >> shift) + half + 1] += 1
    for group in range(1 << bits):
        free[group + 1] += free[group]
    for i in range(many):
        group = (words[i] >> shift) + half
        place = free[group]
        found[place], order[place] = words[i], i
        free[group] = place + 1
    for i in range(1, many):
        word, of, place = found[i], order[i], i
        while place > 0 and found[place - 1] > word:
            found[place], order[place] = found[place - 1], order[place - 1]
            place -= 1
        found[place], order[place] = word, of


def shuffled(training: Training, generation: int, cells: Tensor, size: int) -> Ints:
    """The order in which each cell takes the ``size`` rows of a pass, int64 ``[P, size]``: that of all engines."""
    words = rng.bits(training.seed, "batches", generation, cells, 0, (size,)).numpy()
    order = np.empty_like(words)
    workers.each(lambda cell: sort_places(words[cell], order[cell]), range(len(words)))
    return order


CALL_FLOP = 500_000_000
"""Floating-point operations of one call into the loop: some tens of milliseconds, after which a stop is obeyed."""


def aligned(rows: int, width: int) -> Floats:
    """Room for ``[rows, width]`` that begins on a cache line; ``width`` is whole lines."""
    spare = np.empty(rows * width + LINE, np.float32)
    first = (-spare.ctypes.data // spare.itemsize) % LINE
    return spare[first : first + rows * width].reshape(rows, width)


def decays(training: Training) -> tuple[np.float32, np.float32, np.float32]:
    """1 - beta1, beta2 and 1 - beta2 of Adam, subtracted in double precision."""
    beta1, beta2 = training.betas
    return np.float32(1 - beta1), np.float32(beta2), np.float32(1 - beta2)


def train(
    net: Autoencoder,
    training: Training,
    block: Population,
    cells: Tensor,
    rows: RowSet,
    steps: range,
    poll: Callable[[], None],
) -> None:
    """What :func:`aecompress.evolve.training.train` does, for plain autoencoders in float32 on a CPU.

    The same batches and formulas; results agree to rounding, and a cell's do not depend on the block it is in.
    """
    layers, floats = table([(layer.inputs, layer.outputs, layer.activation) for layer in net.layers])
    generation, batch, size = block.generation, training.batch, rows.shape[0]
    count = steps_per_generation(size, batch)
    order = shuffled(training, generation, cells, size)
    fresh = training.optimizer == "fresh-adam"
    paces = [step_size(training, generation * count + step, training.generations * count) for step in steps]
    sizes, epsilons = (np.array(column, np.float32) for column in zip(*paces, strict=True))
    weights, masks, rates = block.weights.numpy(), block.masks.numpy(), block.learning_rate.numpy()
    moments = (
        [np.zeros((len(cells), 1), np.float32)] * 2 if fresh else [moment.numpy() for moment in block.moments or ()]
    )
    spread = block.stats
    sums_of = [np.zeros((len(cells), 1, 1))] * 2 + [np.zeros((len(cells), 1))]
    if spread is not None:
        sums_of = [spread.total.numpy(), spread.square.numpy(), spread.count.numpy()]
    assert isinstance(rows, Tensor)  # interactions are trained uncompiled
    source = rows.numpy()
    loss = LOSSES.index(training.loss(generation))
    stride = max(1, CALL_FLOP // (6 * net.layout.size * batch))
    large = batch > WHOLE_BATCH
    # Where there are fewer cells than cores, those without one help with another's, whose buffers they share.
    rooms = [aligned(6, floats) for _ in cells] if large and len(cells) < workers.cores() else []
    own = threading.local()  # each core keeps its buffers from cell to cell: new memory costs a fault per page
    for first in range(steps.start, steps.stop, stride):
        poll()
        last = min(first + stride, steps.stop)
        part = slice(first - steps.start, last - steps.start)
        gates = np.zeros((len(cells), LINE), np.int64)

        def one(job: int, first: int = first, last: int = last, part: slice = part, gates: Ints = gates) -> None:
            cell = job % len(cells)
            if not rooms and not hasattr(own, "room"):
                own.room = aligned(6 if large else 4, floats)
            room = rooms[cell] if rooms else own.room
            work = (
                weights[cell], masks[cell], moments[0][cell], moments[1][cell], source,
                order[cell, first * batch : last * batch], batch, sizes[part], epsilons[part],
                decays(training), rates[cell], loss, fresh, training.persistent_masks,
                spread is not None, sums_of[0][cell], sums_of[1][cell], sums_of[2][cell],
            )  # fmt: skip
            if large:
                train_shared(layers, room[:4], room[4:], gates[cell], *work)
            else:
                train_cell(layers, room, *work)

        workers.each(one, range(len(cells) * (2 if rooms else 1)))


@compiled
def update_row(  # type: ignore[no-untyped-def]
    persistent, fresh, weights, copy, slopes, mask, first, second, size, epsilon, rest1, beta2, rest2
):
    """Mask and update a cell's row in one loop; in place."""
    if fresh:
        fresh_adam_row(weights, copy, slopes, mask, persistent, size, epsilon)
    else:
        adam_row(weights, copy, slopes, mask, persistent, first, second, size, epsilon, rest1, beta2, rest2)


@compiled
def settle(kind, pre, out, bias):  # type: ignore[no-untyped-def]
    """Add ``bias`` ``[1, w]`` to a layer's products ``pre`` ``[B, w]`` and activate.

    ``out`` is ``pre`` unless the activation is gelu, whose backward pass asks for both.
    """
    width = pre.shape[1]
    line, done = np.empty((1, width), np.float32), np.empty((1, width), np.float32)
    add, powers = np.empty(width, np.float32), np.empty(width, np.int32)
    for c in range(width):
        add[c] = wide(bias[0, c])
    for b in range(pre.shape[0]):
        x, sums_of = pre[b], line[0]
        if kind == IDENTITY:
            for c in range(width):
                put(x, c, wide(x[c]) + add[c])
        elif kind == RELU:
            for c in range(width):
                value = wide(x[c]) + add[c]
                kept = np.float32(0) if value < 0 else value
                put(x, c, kept)
        else:
            for c in range(width):
                sums_of[c] = wide(x[c]) + add[c]
            activate(kind, width, line, done, powers)
            y, values = out[b], done[0]
            if kind == GELU:
                for c in range(width):
                    put(x, c, sums_of[c])
            for c in range(width):
                put(y, c, values[c])


@compiled
def settle_loss(kind, loss, scale, pre, target, delta, bias, slopes):  # type: ignore[no-untyped-def]
    """The end of the forward pass and the start of the backward one.

    Adds ``bias`` ``[1, D]`` to the last layer's products ``pre`` ``[B, D]``; writes there the gradient of ``scale``
    times the summed loss against ``target``, float32 ``[B, D]``, into ``delta`` and that of the bias into ``slopes``.
    """
    width = pre.shape[1]
    line, done, goal, grad = [np.empty((1, width), np.float32) for _ in range(4)]
    add, total, powers = np.empty(width, np.float32), np.zeros(width, np.float32), np.empty(width, np.int32)
    for c in range(width):
        add[c] = wide(bias[0, c])
    for b in range(pre.shape[0]):
        x, d, sums_of, slope = pre[b], delta[b], line[0], grad[0]
        for c in range(width):
            sums_of[c] = wide(x[c]) + add[c]
        for c in range(width):
            put(x, c, sums_of[c])
        copy_row(target[b], goal[0])
        activate(kind, width, line, done, powers)
        loss_gradient(loss, kind, line, done, goal, scale, grad)
        for c in range(width):
            put(d, c, slope[c])
            total[c] += slope[c]
    for c in range(width):
        put(slopes[0], c, total[c])


@compiled
def settle_back(kind, grad, pre, out, slopes):  # type: ignore[no-untyped-def]
    """:func:`through` a layer's activation, of ``grad`` ``[B, w]`` in place.

    The gradient of the layer's bias goes into ``slopes`` ``[1, w]``.
    """
    width = grad.shape[1]
    line, before, after = [np.empty((1, width), np.float32) for _ in range(3)]
    total = np.zeros(width, np.float32)
    for b in range(grad.shape[0]):
        g, x, y = grad[b], pre[b], out[b]
        if kind == IDENTITY:
            for c in range(width):
                total[c] += wide(g[c])
        elif kind == RELU:
            for c in range(width):
                slope = wide(g[c]) if wide(y[c]) > 0 else np.float32(0)
                put(g, c, slope)
                total[c] += slope
        else:
            behind, sums_of, values = line[0], before[0], after[0]
            for c in range(width):
                behind[c] = wide(g[c])
                sums_of[c] = wide(x[c])
                values[c] = wide(y[c])
            through(kind, line, before, after)
            for c in range(width):
                put(g, c, behind[c])
                total[c] += behind[c]
    for c in range(width):
        put(slopes[0], c, total[c])


class Room(threading.local):
    """Memory for the values of a step, which a thread keeps for its next one."""

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Room for ``shape`` in the number format of ``like``; what was taken last by that name is overwritten."""
        held, size = self.kept.get(name), math.prod(shape)
        if held is None or held.dtype != like.dtype or held.numel() < size:
            held = self.kept[name] = like.new_empty(size)
        return held[:size].view(shape)


ROOM = Room()


def of_each(kernel: Callable[..., None], flags: tuple[Any, ...], *tensors: Tensor) -> None:
    """Run a kernel on every cell of ``tensors`` ``[P, ., w]``; bfloat16 ones are given as their bits.

    On this core alone: the library's threads still wait, busily, on the others for its next product.
    """
    arrays = [(t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy() for t in tensors]
    for cell in zip(*arrays, strict=True):
        kernel(*flags, *cell)


def gradient(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    noise: Tensor | None,
    noise_level: float,
    *,
    loss: str,
) -> Trace:
    """What :func:`aecompress.nets.autoencoder.gradient` does, with all between two matrix products in one loop.

    Returns:
        The forward pass but for the last layer's output, which the loss alone sees; overwritten by the thread's next
        call.
    """
    if net.log_variance is not None:
        return autoencoder.gradient(net, weights, gradients, rows, noise, noise_level, loss=loss)
    kinds = [ACTIVATIONS.index(layer.activation) for layer in net.layers]
    names, last = [layer.name for layer in net.layers], len(net.layers) - 1
    inputs = rows if noise is None else torch.add(rows, noise, alpha=noise_level)
    inputs = inputs.to(weights[names[0] + ".weight"].dtype)
    trace = Trace([], [])
    for at, name in enumerate(names):
        below = trace.out[-1] if at else inputs
        room = ROOM.take(f"pre {at}", (*below.shape[:2], net.layers[at].outputs), below)
        pre = product(below, weights[name + ".weight"], room)
        trace.pre.append(pre)
        if at < last:
            out = ROOM.take(f"out {at}", tuple(pre.shape), pre) if kinds[at] == GELU else pre
            of_each(settle, (kinds[at],), pre, out, weights[name + ".bias"])
            trace.out.append(out)
    delta = ROOM.take("delta", tuple(inputs.shape), inputs)
    flags = (kinds[last], LOSSES.index(loss), np.float32(1 / (rows.shape[1] * rows.shape[2])))
    biases = weights[names[last] + ".bias"], gradients[names[last] + ".bias"]
    of_each(settle_loss, flags, trace.pre[-1], rows, delta, *biases)
    for at in range(last, -1, -1):
        below = trace.out[at - 1] if at else inputs
        torch.bmm(below.transpose(1, 2), delta, out=gradients[names[at] + ".weight"])
        if at:
            room = ROOM.take(f"delta {at}", tuple(below.shape), below)
            delta = product(delta, weights[names[at] + ".weight"].transpose(1, 2), room)
            slopes = gradients[names[at - 1] + ".bias"]
            of_each(settle_back, (kinds[at - 1],), delta, trace.pre[at - 1], trace.out[at - 1], slopes)
    return trace


def masked_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: float, epsilon: float
) -> None:
    """What :func:`aecompress.evolve.training.masked_update` does, in one pass over the memory."""
    fresh = training.optimizer == "fresh-adam"
    rest1, beta2, rest2 = decays(training)
    weights = block.weights.numpy()
    slopes, copy = (part.view(torch.int16 if own.half else part.dtype).numpy() for part in (own.gradient, own.weights))
    first, second = (weights, weights) if block.moments is None else (moment.numpy() for moment in block.moments)
    masks = block.masks.numpy()
    rates = block.learning_rate.numpy() * np.float32(size)
    for cell in range(len(weights)):
        update_row(
            kept is not None, fresh, weights[cell], copy[cell], slopes[cell], masks[cell], first[cell], second[cell],
            rates[cell], np.float32(epsilon), rest1, beta2, rest2,
        )  # fmt: skip


def warm() -> None:
    """Compile every loop of this module, or load it from the cache of an earlier process."""
    layers, floats = table([(2, 1, "relu"), (1, 2, "sigmoid")])
    row, one = np.zeros(7, np.float32), np.float32(0.5)
    train_cell(
        layers, aligned(4, floats), row, np.ones(7, np.bool_), row, row, np.zeros((1, 2), np.float32),
        np.zeros(1, np.int64), 1, np.ones(1, np.float32), np.ones(1, np.float32), (one, one, one), one, L1, True, False,
        False, np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1),
    )  # fmt: skip
    train_shared(
        layers, aligned(4, floats), aligned(2, floats), np.zeros(2, np.int64), row, np.ones(7, np.bool_), row, row,
        np.zeros((1, 2), np.float32), np.zeros(1, np.int64), 1, np.ones(1, np.float32), np.ones(1, np.float32),
        (one, one, one), one, L1, True, False, False, np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1),
    )  # fmt: skip
    sort_places(np.zeros(1, np.int64), np.zeros(1, np.int64))
    evaluate_cell(layers, aligned(1, floats)[0], np.zeros((1, 2), np.float32), L1)
    load(layers, row, aligned(1, floats)[0])
    half, mask = np.zeros(7, np.int16), np.ones(7, np.bool_)
    for line in (row, half):
        update_row(False, True, row, line, line, mask, row, row, one, one, one, one, one)
    rows = np.zeros((1, 2), np.float32)
    for coded in (rows, np.zeros((1, 2), np.int16)):
        settle(RELU, coded, coded, coded)
        settle_loss(RELU, MSE, one, coded, rows, coded, coded, coded)
        settle_back(RELU, coded, coded, coded, coded)


def compile_ahead(poll: Callable[[], None]) -> None:
    """Have a child process compile this module into the cache, because a compilation here could not be stopped.

    Does nothing where that was done before for this machine, and nothing bad where the cache cannot be written.
    """
    about = (Path(__file__).read_bytes(), numba.__version__, get_host_cpu_name(), get_host_cpu_features().flatten())
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    stamp = Path(train_cell.stats.cache_path or ".") / f"aecompress-{name}.compiled"
    if stamp.exists():
        return
    child = subprocess.Popen([sys.executable, "-c", f"from {__name__} import warm; warm()"], start_new_session=True)
    try:
        while child.poll() is None:
            poll()
            time.sleep(0.05)
    except BaseException:
        child.kill()
        child.wait()
        raise
    with contextlib.suppress(OSError):
        stamp.touch()
