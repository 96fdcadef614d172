"""Activations, their gradients and those of the losses, row by row."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from aecompress.engines.numba.jit import compiled, copy_row

ACTIVATIONS = ("identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid")
IDENTITY, RELU, LEAKY, GELU, TANH, SIGMOID = range(6)
LOSSES = ("l1", "mse", "bce", "huber")
L1, MSE, BCE, HUBER = range(4)

ONE, HALF = np.float32(1), np.float32(0.5)
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
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
        else:
            sigmoid_row(x, y, powers)
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
