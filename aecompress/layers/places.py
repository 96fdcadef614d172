"""Values with places between our order, channels-last, and that of torch and ONNX, channels-first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aecompress.layers.base import Draft, Shape, Values


def axes_first(shape: Shape) -> tuple[int, ...]:
    """Return the order of the axes of ``shape``, ``(*places, units)``, that puts the units first."""
    return (len(shape) - 1, *range(len(shape) - 1))


def axes_last(shape: Shape) -> tuple[int, ...]:
    """Return the order of axes that undoes :func:`axes_first`."""
    return (*range(1, len(shape)), 0)


def first(values: Values, shape: Shape, axis: int) -> Values:
    """Return values whose ``axis`` has those of ``shape``, channels-last, with that axis in channels-first order."""
    return _moved(values, shape, axes_first(shape), axis)


def last(values: Values, shape: Shape, axis: int) -> Values:
    """Return values whose ``axis`` has those of ``shape``, channels-first, with that axis in channels-last order."""
    turned = tuple(shape[at] for at in axes_first(shape))
    return _moved(values, turned, axes_last(shape), axis)


def _moved(values: Values, shape: Shape, order: Sequence[int], axis: int) -> Values:
    if len(shape) == 1:
        return values
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    whole = values.reshape(*before, *shape, *after)
    places = [*range(axis), *(axis + at for at in order), *range(axis + len(shape), whole.ndim)]
    return np.ascontiguousarray(whole.transpose(places).reshape(values.shape))


def matrix_first(draft: Draft, name: str, given: Shape, gives: Shape) -> str:
    """Return the name of a matrix ``[values of given, values of gives]`` with both axes in channels-first order."""
    if len(given) == len(gives) == 1:
        return name
    order = (*axes_first(given), *(len(given) + at for at in axes_first(gives)))
    return draft.turned(name, (*given, *gives), order, (math.prod(given), math.prod(gives)))


def vector_first(draft: Draft, name: str, gives: Shape) -> str:
    """Return the name of a vector of the values of ``gives`` in channels-first order."""
    return name if len(gives) == 1 else draft.turned(name, gives, axes_first(gives), (math.prod(gives),))


def to_first(draft: Draft, source: str, shape: Shape, result: str) -> str:
    """Write the Transpose from ``[N, *shape]``, channels-last, to channels-first; return the name of its result."""
    return draft.add("Transpose", [source], result, perm=[0, *(1 + at for at in axes_first(shape))])


def to_last(draft: Draft, source: str, shape: Shape, result: str) -> str:
    """Write the Transpose from channels-first to ``[N, *shape]``; return the name of its result."""
    return draft.add("Transpose", [source], result, perm=[0, *(1 + at for at in axes_last(shape))])
