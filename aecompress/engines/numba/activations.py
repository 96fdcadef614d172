"""Activations, their gradients and those of the losses, row by row."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from aecompress.engines.numba.jit import compiled, copy_row
from aecompress.layers.activations import SELU_ALPHA as EXACT_ALPHA
from aecompress.layers.activations import SELU_SCALE as EXACT_SCALE
from aecompress.layers.names import NAMES

ACTIVATIONS = NAMES
(
    IDENTITY, RELU, LEAKY, GELU, TANH, SIGMOID, ELU, SELU, RELU6, SOFTPLUS, SOFTSIGN, SILU, MISH, HARD_SWISH,
    HARD_TANH,
) = range(len(NAMES))  # fmt: skip
BY_INPUT = (GELU, SILU, MISH, HARD_SWISH)
"""Those whose gradient follows from the values before them only."""
LOSSES = ("l1", "mse", "bce", "huber")
L1, MSE, BCE, HUBER = range(4)

ONE, HALF, TWO = np.float32(1), np.float32(0.5), np.float32(2)
SIXTH, THIRD = np.float32(1 / 6), np.float32(1 / 3)
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
SELU_ALPHA, SELU_SCALE = np.float32(EXACT_ALPHA), np.float32(EXACT_SCALE)
ROOT_HALF, GAUSS = np.float32(2**-0.5), np.float32((2 * np.pi) ** -0.5)


class Loss(NamedTuple):
    """A training loss, of which a place among :data:`LOSSES`, and the factor of its sum."""

    kind: int
    scale: np.float32


@compiled
def sigmoid_row(x, y, powers):
    """Compute ``y = 1 / (1 + exp(-x))``, exp to a few units in the last place (Cephes expf).

    It is 2^n by the bits of n and the rest by a polynomial. The three arrays must not overlap, or the compiler cannot
    use whole vectors.
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
def gate_row(kind, x, y):
    """Compute ``y``, which is x times a gate that opens as x rises."""
    if kind == SILU:
        for c in range(x.shape[0]):
            y[c] = x[c] / (ONE + np.exp(-x[c]))
    elif kind == MISH:  # tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2), with e = exp(x)
        for c in range(x.shape[0]):
            e = np.exp(x[c] if x[c] < 20 else np.float32(20))
            n = e * (e + TWO)
            y[c] = x[c] * (n / (n + TWO))
    else:
        for c in range(x.shape[0]):
            gate = x[c] * SIXTH + HALF
            gate = gate if gate > 0 else np.float32(0)
            y[c] = x[c] * (gate if gate < ONE else ONE)


@compiled
def gate_row_backward(kind, g, x):
    """Turn the gradient behind :func:`gate_row` into that before it, in place."""
    if kind == SILU:
        for c in range(x.shape[0]):
            gate = ONE / (ONE + np.exp(-x[c]))
            g[c] *= gate * (ONE + x[c] * (ONE - gate))
    elif kind == MISH:
        for c in range(x.shape[0]):
            e = np.exp(x[c] if x[c] < 20 else np.float32(20))
            n = e * (e + TWO)
            gate = n / (n + TWO)
            g[c] *= gate + x[c] * (TWO * TWO * (e / (n + TWO)) * ((e + ONE) / (n + TWO)))
    else:
        for c in range(x.shape[0]):
            slope = ONE if x[c] > 3 else x[c] * THIRD + HALF
            g[c] *= np.float32(0) if x[c] < -3 else slope


@compiled
def bend_row(kind, x, y):
    """Compute ``y`` by one of the curves whose gradient follows from what they give."""
    if kind == ELU:
        for c in range(x.shape[0]):
            y[c] = x[c] if x[c] > 0 else np.expm1(x[c])
    elif kind == SELU:
        for c in range(x.shape[0]):
            y[c] = SELU_SCALE * (x[c] if x[c] > 0 else SELU_ALPHA * np.expm1(x[c]))
    elif kind == RELU6:
        for c in range(x.shape[0]):
            low = np.float32(0) if x[c] < 0 else x[c]
            y[c] = np.float32(6) if low > 6 else low
    elif kind == HARD_TANH:
        for c in range(x.shape[0]):
            low = -ONE if x[c] < -1 else x[c]
            y[c] = ONE if low > 1 else low
    elif kind == SOFTPLUS:
        for c in range(x.shape[0]):
            y[c] = (x[c] if x[c] > 0 else np.float32(0)) + np.log1p(np.exp(-abs(x[c])))
    else:
        for c in range(x.shape[0]):
            y[c] = x[c] / (ONE + abs(x[c]))


@compiled
def bend_row_backward(kind, g, y):
    """Turn the gradient behind :func:`bend_row` into that before it, in place."""
    if kind == ELU:
        for c in range(y.shape[0]):
            g[c] = g[c] if y[c] > 0 else g[c] * (y[c] + ONE)
    elif kind == SELU:
        for c in range(y.shape[0]):
            g[c] *= SELU_SCALE if y[c] > 0 else y[c] + SELU_SCALE * SELU_ALPHA
    elif kind == RELU6:
        for c in range(y.shape[0]):
            g[c] = g[c] if 0 < y[c] < 6 else np.float32(0)
    elif kind == HARD_TANH:
        for c in range(y.shape[0]):
            g[c] = g[c] if -1 < y[c] < 1 else np.float32(0)
    elif kind == SOFTPLUS:
        for c in range(y.shape[0]):
            g[c] *= -np.expm1(-y[c])
    else:
        for c in range(y.shape[0]):
            rest = ONE - abs(y[c])
            g[c] *= rest * rest


@compiled
def activate(kind, width, pre, out, powers):
    """Compute ``out`` from the values before the activation, row by row. Padding stays 0."""
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
        elif kind == SIGMOID:
            sigmoid_row(x, y, powers)
            for c in range(width, x.shape[0]):
                y[c] = np.float32(0)
        elif kind in BY_INPUT:
            gate_row(kind, x, y)
        else:
            bend_row(kind, x, y)
            for c in range(width, x.shape[0]):
                y[c] = np.float32(0)


@compiled
def activation_backward(kind, grad, pre, out):
    """Turn the gradient behind an activation into that before it, in place, row by row."""
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
        elif kind in BY_INPUT:
            gate_row_backward(kind, g, x)
        elif kind != IDENTITY:
            bend_row_backward(kind, g, y)


@compiled
def loss_gradient(loss, kind, pre, out, target, grad):
    """Write the gradient of ``loss``, a :class:`Loss`, before the last activation, ``kind``, into ``grad``."""
    scale = loss.scale
    for b in range(pre.shape[0]):
        g, y, t = grad[b], out[b], target[b]
        if loss.kind == L1:
            for c in range(g.shape[0]):
                d = y[c] - t[c]
                g[c] = scale if d > 0 else (-scale if d < 0 else scale * d)
        elif loss.kind == MSE:
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) * (scale + scale)
        elif loss.kind == HUBER:
            for c in range(g.shape[0]):
                d = y[c] - t[c]
                g[c] = scale * (ONE if d > 1 else (-ONE if d < -1 else d))
        elif kind == SIGMOID:  # cross-entropy after a sigmoid: exact where the sigmoid is saturated
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) * scale
        else:
            for c in range(g.shape[0]):
                g[c] = (y[c] - t[c]) / max(y[c] * (ONE - y[c]), np.float32(1e-12)) * scale
    if loss.kind != BCE or kind != SIGMOID:
        activation_backward(kind, grad, pre, out)
