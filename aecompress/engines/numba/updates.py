"""Masks and update rules: what becomes of a row of weights once its gradient is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aecompress.engines.numba.jit import as_float32, compiled, estimating, fma, refresh
from aecompress.engines.numba.products import gradient_row


class Rule(NamedTuple):
    """How weights are updated."""

    fresh: bool
    """Whether by the first step of a new Adam, every time."""
    persistent: bool
    """Whether masks hold: a pruned weight has no gradient."""
    rest1: np.float32
    """1 - beta1 of Adam."""
    beta2: np.float32
    rest2: np.float32
    """1 - beta2."""


class StepSize(NamedTuple):
    """Of :func:`aecompress.engines.training.step_size`, times the cell's rate."""

    size: np.float32
    epsilon: np.float32


class Weights(NamedTuple):
    """Some weights and what belongs to them, all of one shape."""

    weights: Any
    mask: Any
    first: Any
    """Adam's moments."""
    second: Any


class Slopes(NamedTuple):
    """A row's gradient and the copy of the weights that products read, ``[w]`` each."""

    gradient: Any
    """float32, or the bits of bfloat16; then so is ``copy``, which is refreshed with the weights."""
    copy: Any


@estimating
def adam(weight, slope, first, second, rule, step):
    """Return a weight and its moments after :func:`aecompress.engines.eager.adam`, from its masked gradient."""
    first += rule.rest1 * (slope - first)
    second = fma(rule.beta2, second, rule.rest2 * (slope * slope))
    return weight - step.size * (first / (np.sqrt(second) + step.epsilon)), first, second


@compiled
def fresh_adam(weight, slope, step):
    """Return a weight after :func:`aecompress.engines.eager.fresh_adam`, from its masked gradient."""
    return weight - step.size * (slope / (abs(slope) + step.epsilon))


@estimating
def adam_row(row, slopes, rule, step):
    """Mask and update a row of :class:`Weights` by :func:`adam`, in place."""
    weights, mask, first, second = row
    gradient, copy = slopes
    for c in range(weights.shape[0]):
        slope = as_float32(gradient[c])
        if rule.persistent:
            slope *= mask[c]
        weights[c], first[c], second[c] = adam(weights[c], slope, first[c], second[c], rule, step)
        refresh(copy, c, weights[c])


@compiled
def fresh_adam_row(row, slopes, rule, step):
    """Mask and update a row of :class:`Weights` by :func:`fresh_adam`, in place."""
    weights, mask = row.weights, row.mask
    gradient, copy = slopes
    for c in range(weights.shape[0]):
        slope = as_float32(gradient[c])
        if rule.persistent:
            slope *= mask[c]
        weights[c] = fresh_adam(weights[c], slope, step)
        refresh(copy, c, weights[c])


@compiled
def update_row(row, slopes, rule, step):
    """Mask and update a row of :class:`Weights` in one loop, in place."""
    if rule.fresh:
        fresh_adam_row(row, slopes, rule, step)
    else:
        adam_row(row, slopes, rule, step)


@compiled
def update_fresh_of_five(matrix, factors, lines, step):
    """Compute gradient and fresh-Adam update in one loop, at the published batch of five: it waits on division alone.

    In place, of ``matrix`` ``[h, w]`` from ``factors`` ``[5, h]`` and ``lines`` ``[5, w]``.
    """
    size, epsilon = step.size, step.epsilon
    x0, x1, x2, x3, x4 = lines[0], lines[1], lines[2], lines[3], lines[4]
    for r in range(matrix.shape[0]):
        row = matrix[r]
        f0, f1, f2, f3, f4 = factors[0, r], factors[1, r], factors[2, r], factors[3, r], factors[4, r]
        for c in range(row.shape[0]):
            g = f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
            row[c] -= size * (g / (abs(g) + epsilon))


@estimating
def adam_matrix(matrix, factors, lines, grad, rule, step):
    """Compute gradient, mask and :func:`adam` of a layer's matrix, row by row; arguments of :func:`update_matrix`."""
    for r in range(matrix.weights.shape[0]):
        gradient_row(factors, lines, r, grad)
        weights, mask, first, second = matrix.weights[r], matrix.mask[r], matrix.first[r], matrix.second[r]
        for c in range(grad.shape[0]):
            slope = grad[c]
            if rule.persistent:
                slope *= mask[c]
            weights[c], first[c], second[c] = adam(weights[c], slope, first[c], second[c], rule, step)


@compiled
def fresh_adam_matrix(matrix, factors, lines, grad, rule, step):
    """Compute the same with :func:`fresh_adam`."""
    for r in range(matrix.weights.shape[0]):
        gradient_row(factors, lines, r, grad)
        weights, mask = matrix.weights[r], matrix.mask[r]
        for c in range(grad.shape[0]):
            slope = grad[c]
            if rule.persistent:
                slope *= mask[c]
            weights[c] = fresh_adam(weights[c], slope, step)


@compiled
def update_matrix(matrix, factors, lines, grad, rule, step):
    """Compute gradient, mask and update of a layer's matrix, row by row, while the row is hot; in place.

    Args:
        matrix: :class:`Weights` ``[h, w]``; factors, lines: ``[B, h]`` and ``[B, w]``, whose product is its gradient.
        grad: scratch memory ``[w]``.
    """
    if not rule.fresh:
        adam_matrix(matrix, factors, lines, grad, rule, step)
    elif rule.persistent or lines.shape[0] != 5:
        fresh_adam_matrix(matrix, factors, lines, grad, rule, step)
    else:
        update_fresh_of_five(matrix.weights, factors, lines, step)
