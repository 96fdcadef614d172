"""Functions applied to each value alone, found again as the activations of our table by trying them on numbers.

Exporters write one activation in many forms: SiLU as x * sigmoid(x), Softplus as log(1 + exp(x)), PReLU as
relu(x) - slope * relu(-x). Whatever the form, a run of such operators is one function of x, and is compared with each
activation at :data:`PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.steps import Step
from aecompress.layers.activations import ACTIVATIONS, IDENTITY, leaky_name
from aecompress.layers.names import slope_of

Array = NDArray[Any]
Function = Callable[[Array], Array]
PROBES = np.concatenate([np.linspace(-8, 8, 33), [-30.0, -1e-3, 1e-3, 30.0]])
"""Where functions are compared; of ReLU6, hard-swish and the like some lie beyond each bend."""
CLOSE = 2e-5
"""Difference of two functions that are one: constants such as 0.7071 are float32."""
LONGEST = 16
"""Operators that one activation is written with at most."""


class Pointwise(NamedTuple):
    """A function of each value alone, perhaps another one in each unit."""

    name: str
    """Of the node, for messages."""
    function: Function
    """Of values ``[..., *row]``; constants inside it broadcast to a row."""
    affine: tuple[Array, Array] | None = None
    """Factor and summand where it is x * factor + summand, each broadcasting to a row."""
    what: str = ""
    """The operator, for messages."""


def affine(name: str, factor: Array | float, summand: Array | float) -> Pointwise:
    """Return x * factor + summand, in float64."""
    scale, shift = np.asarray(factor, np.float64), np.asarray(summand, np.float64)
    return Pointwise(name, lambda x: x * scale + shift, (scale, shift), "affine")


def composed(items: Sequence[Pointwise]) -> Function:
    """Return the function that applies ``items`` first to last."""

    def run(x: Array) -> Array:
        with np.errstate(all="ignore"):
            for item in items:
                x = item.function(x)
        return x

    return run


class Unknown(NamedTuple):
    """A function that is no activation of ours."""

    name: str
    what: str


def resolved(items: Sequence[Pointwise], axes: int) -> list[Step] | Unknown:
    """Return a run of functions of a row of so many ``axes`` as steps; the longest match from each place is taken.

    Affine maps stay as they are, so that they can go into the weights beside them.
    """
    steps, place = list[Step](), 0
    while place < len(items):
        item = items[place]
        if item.affine is not None and not _begins_one(items, place):
            steps += _affine_step(item)
            place += 1
            continue
        for end in range(min(len(items), place + LONGEST), place, -1):
            found = _activation(item.name, composed(items[place:end]), axes)
            if found is not None:
                steps += found
                place = end
                break
        else:
            if item.affine is None:
                return Unknown(item.name, item.what)
            steps += _affine_step(item)
            place += 1
    return steps


def _begins_one(items: Sequence[Pointwise], place: int) -> bool:
    """Return whether an affine map may be the first operator of an activation: one number, not one a unit."""
    factor, summand = items[place].affine or (np.zeros(2), np.zeros(2))
    return factor.size == summand.size == 1 and place + 1 < len(items)


def _affine_step(item: Pointwise) -> list[Step]:
    """Return an affine map of one number, or of one a unit on the first or the last axis, as a step; none if it does
    nothing."""
    assert item.affine is not None
    factor, summand = np.broadcast_arrays(*item.affine)
    if (factor == 1).all() and (summand == 0).all():
        return []
    numbers = {"axis": -1} if factor.ndim > 1 and factor.shape[-1] > 1 else {}
    return [Step(item.name, "affine", {"weight": factor.reshape(-1), "bias": summand.reshape(-1)}, numbers)]


def _activation(name: str, function: Function, axes: int) -> list[Step] | None:
    """Return the activation that ``function`` is, none if it is the identity; None: it is no activation."""
    x = PROBES.reshape(-1, *[1] * axes)
    try:
        found = np.asarray(function(x))
    except (ValueError, IndexError):
        return None
    for ours, activation in ACTIVATIONS.items():
        if same(found, np.asarray(activation.value(x))):
            return [] if ours == IDENTITY else [Step(name, "activation", numbers={"name": ours})]
    return _leaky(name, found, axes)


def same(one: Array, other: Array) -> bool:
    """Return whether two functions, at :data:`PROBES`, are one."""
    return bool((np.abs(one - other) <= CLOSE * np.maximum(1, np.abs(other))).all())


def _leaky(name: str, found: Array, axes: int) -> list[Step] | None:
    """Return the leaky ReLU, with one slope or one a unit, that has the values ``found`` at :data:`PROBES`."""
    x = PROBES.reshape(-1, *[1] * axes)
    slope = -found[list(PROBES).index(-1.0)]
    if not same(found, np.where(x > 0, x, slope * x)):
        return None
    if slope.size == 1:
        ours = leaky_name(float(slope.reshape(-1)[0]))
        known = ours in ACTIVATIONS or slope_of(ours) is not None
        return [Step(name, "activation", numbers={"name": ours})] if known else None
    if sum(size > 1 for size in slope.shape) > 1:
        return None
    numbers: dict[str, Any] = {"name": "prelu"}
    if slope.ndim > 1 and slope.shape[-1] > 1:
        numbers["axis"] = -1
    return [Step(name, "activation", {"weight": slope.reshape(-1)}, numbers)]
