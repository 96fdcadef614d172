"""The chain of our layers while it is made of steps, and what adds each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aecompress.deploy.pretrained.steps import CONVOLUTIONS, PRODUCTS, RECURRENT, Array, Step, inputs
from aecompress.errors import DataError, SpecError
from aecompress.layers.activations import IDENTITY
from aecompress.layers.base import BoundLayer, Shape
from aecompress.layers.kinds import from_json

PLACED = ("max-pool", "avg-pool", "global-avg-pool", "upsample")
"""Steps that take values with units first."""
MONOTONE = ("relu", "relu6", "leaky-relu", "tanh", "sigmoid", "elu", "selu", "softplus", "softsign")
"""Activations that may stand on either side of a max-pool."""


class Value(NamedTuple):
    """What goes from step to step, as our layers have it and as torch does."""

    ours: Shape
    """Units last."""
    order: tuple[int, ...]
    """torch's axis i is our axis ``order[i]``."""
    flat: bool = False
    """Whether torch has made one axis of them all, in its own order."""

    @property
    def torchs(self) -> Shape:
        """Return the shape that torch has."""
        shape = tuple(self.ours[axis] for axis in self.order)
        return (math.prod(shape),) if self.flat else shape

    @property
    def places(self) -> Array:
        """Return where each value of torch's flat order lies in our flat order, ``[values]``."""
        count = math.prod(self.ours)
        return np.arange(count).reshape(self.ours).transpose(self.order).reshape(-1)


class Made(NamedTuple):
    """A layer of ours with its tensors, not yet named."""

    source: str
    """The step that it comes from."""
    bound: BoundLayer
    weight: Array
    """``[fan_in, columns]``."""
    bias: Array
    activation: str = IDENTITY
    """Our name of it, or :data:`aecompress.deploy.pretrained.steps.UNKNOWN`."""


class Chain(NamedTuple):
    """The layers so far, and what the last one gives."""

    path: Path
    value: Value
    layers: tuple[Made, ...] = ()

    @property
    def begins(self) -> bool:
        """Return whether no layer with weights has come yet."""
        return not any(made.bound.size for made in self.layers)


def reshaped(state: Chain, name: str, shape: Shape) -> Chain:
    """Give values another shape in our own order."""
    made = _bare(state, name, "reshape", {"to": shape})
    return state._replace(value=Value(shape, tuple(range(len(shape)))), layers=(*state.layers, made))


def _bare(state: Chain, name: str, kind: str, numbers: Mapping[str, Any]) -> Made:
    """Return a layer without weights."""
    return Made(name, _bound(state, name, kind, numbers), np.zeros((0, 0)), np.zeros(0))


def _bound(state: Chain, name: str, kind: str, numbers: Mapping[str, Any]) -> BoundLayer:
    """Return a layer of ours on the values so far.

    Raises:
        DataError: there is no such kind, or it cannot be given them.
    """
    try:
        bound = BoundLayer(from_json(name, {"kind": kind, "activation": IDENTITY, **numbers}), state.value.ours)
        assert bound.gives
    except SpecError as fault:
        raise DataError(f"{state.path}: {name}: {'; '.join(fault.faults)}") from fault
    return bound


def _ordered(state: Chain, name: str, order: tuple[int, ...]) -> Chain:
    """Return values with torch's axes in ``order`` of ours, where that is only a question of the rows' layout.

    Raises:
        DataError: layers with weights have come, so that units would be permuted.
    """
    value = state.value
    if value.flat or value.order == order:
        return state
    if not state.begins:
        raise DataError(
            f"{state.path}: {name} takes values whose axes were exchanged between two layers with weights, which no "
            "layer here does: leave the permutation out and train it again"
        )
    return permuted(state, name, order)


def permuted(state: Chain, name: str, order: tuple[int, ...]) -> Chain:
    """Write a permutation after which torch's axis i is our axis ``order[i]``."""
    value = state.value
    axes = tuple(value.order[order.index(axis)] for axis in range(len(order)))
    made = _bare(state, name, "permute", {"axes": axes})
    return state._replace(value=Value(tuple(value.ours[axis] for axis in axes), order), layers=(*state.layers, made))


def channels_first(places: int) -> tuple[int, ...]:
    """Return torch's order of our axes where it has the units first."""
    return (places, *range(places))


def _weighted(state: Chain, step: Step, bound: BoundLayer, tensors: Mapping[str, Array]) -> Chain:
    """Add a layer with weights, of which torch's axes are those that ours had."""
    gives = bound.gives
    made = _with_tensors(step.name, bound, tensors)
    order = state.value.order if len(gives) == len(state.value.order) else tuple(range(len(gives)))
    return state._replace(value=Value(gives, order), layers=(*state.layers, made))


def _with_tensors(name: str, bound: BoundLayer, tensors: Mapping[str, Array]) -> Made:
    """Return a layer with its matrix, of tensors that torch's own module of its kind has."""
    return Made(name, bound, *bound.layer.from_torch(bound.given, tensors))


def _linear(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    """Add a dense layer; on values of several axes it is a convolution over single places."""
    value, weight, bias = state.value, step.tensors["weight"], step.tensors["bias"]
    takes = value.torchs[-1]
    if weight.ndim != 2 or weight.shape[1] != takes:
        before = next((made.source for made in reversed(state.layers) if made.bound.size), "a row")
        raise DataError(
            f"{state.path}: {before} has {takes} outputs, {step.name} {weight.shape[-1]} inputs; "
            "layers must follow each other"
        )
    if len(value.torchs) > 1:
        places = len(value.torchs) - 1
        state = _ordered(state, step.name, tuple(range(places + 1)))
        numbers = {"out": len(weight), "kernel": (1,) * places}
        bound = _bound(state, step.name, f"conv{places}d", numbers)
        pointwise = weight.reshape(*weight.shape, *[1] * places)
        return _weighted(state, step, bound, {"weight": pointwise, "bias": bias})
    if value.flat:
        ordered = np.empty_like(weight)
        ordered[:, value.places] = weight
        weight = ordered
    bound = _bound(state, step.name, "dense", {"out": len(weight)})
    made = Made(step.name, bound, np.ascontiguousarray(weight.T), bias)
    return state._replace(value=Value(bound.gives, (0,)), layers=(*state.layers, made))


def _convolution(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    places = 2 if step.op.startswith("conv2d") else 1
    state = _ordered(state, step.name, channels_first(places))
    weight = step.tensors["weight"]
    if len(state.value.torchs) != places + 1 or state.value.torchs[0] != inputs(step):
        raise DataError(
            f"{state.path}: {step.name} ({step.op}) takes {inputs(step)} channels, it is given values of shape "
            f"{list(state.value.torchs)}; layers must follow each other"
        )
    numbers: dict[str, Any] = {name: _each(number, places) for name, number in step.numbers.items() if name != "groups"}
    numbers |= {
        "groups": int(step.numbers.get("groups", 1)),
        "kernel": weight.shape[2:],
        "out": len(step.tensors["bias"]),
    }
    bound = _bound(state, step.name, step.op, numbers)
    return _weighted(state, step, bound, step.tensors)


def _each(number: Any, places: int) -> tuple[int, ...]:
    return tuple(map(int, number)) if isinstance(number, Sequence) else (int(number),) * places


def _recurrent(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    state = _ordered(state, step.name, (0, 1))
    hidden = step.tensors["weight_hh_l0"].shape[1]
    numbers = {"out": hidden, "sequences": bool(step.numbers.get("sequences", True))}
    return _weighted(state, step, _bound(state, step.name, step.op, numbers), step.tensors)


def _scale(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    """Add an affine map that no layer beside it could take."""
    value = state.value
    if len(value.torchs) > 1 and "axis" not in step.numbers:
        state = _ordered(state, step.name, channels_first(len(value.ours) - 1))
    units = state.value.ours[-1]
    both = np.stack(np.broadcast_arrays(step.tensors["weight"], step.tensors["bias"]))
    if both.shape[1] not in (1, units):
        raise DataError(
            f"{state.path}: {step.name} has {both.shape[1]} values for {units} units; only one a unit can be read"
        )
    weight, bias = np.broadcast_to(both, (2, units))
    return _scaled(state, step.name, weight, bias)


def _scaled(state: Chain, name: str, weight: Array, bias: Array) -> Chain:
    made = _with_tensors(name, _bound(state, name, "scale", {"out": len(weight)}), {"weight": weight, "bias": bias})
    return state._replace(layers=(*state.layers, made))


def _activation(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    """Give the last layer its activation, or a layer of its own where that one cannot have it."""
    name = str(step.numbers["name"])
    for index in reversed(range(len(state.layers))):
        made = state.layers[index]
        if made.bound.size:
            if made.activation == IDENTITY:
                changed = (*state.layers[:index], made._replace(activation=name), *state.layers[index + 1 :])
                return state._replace(layers=changed)
            break
        monotone = made.bound.kind == "max-pool" and name.partition(":")[0] in MONOTONE
        if not (monotone or made.bound.kind in ("repeat", "reshape", "permute", "flatten", "unflatten")):
            break
    units = state.value.ours[-1]
    state = _scaled(state, step.name, np.ones(units), np.zeros(units))
    return state._replace(layers=(*state.layers[:-1], state.layers[-1]._replace(activation=name)))


def _prelu(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    if len(state.value.torchs) > 1 and "axis" not in step.numbers:
        state = _ordered(state, step.name, channels_first(len(state.value.ours) - 1))
    units = state.value.ours[-1]
    if step.tensors["weight"].size not in (1, units):
        count = step.tensors["weight"].size
        raise DataError(f"{state.path}: {step.name} has {count} slopes for {units} units; only one a unit can be read")
    slopes = np.broadcast_to(step.tensors["weight"].reshape(-1), (units,))
    made = _with_tensors(
        step.name, _bound(state, step.name, "prelu", {"out": units}), {"weight": slopes, "bias": np.zeros(0)}
    )
    return state._replace(layers=(*state.layers, made))


def _flatten(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    flat = len(state.value.ours) > 1
    return state._replace(value=state.value._replace(flat=flat))


def _unflatten(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    """Give the last dense layer places, or rows another shape."""
    shape, value = tuple(map(int, step.numbers["shape"])), state.value
    if len(shape) == 1:
        return _flatten(state, step, after)
    if math.prod(shape) != math.prod(value.ours):
        raise DataError(f"{state.path}: {step.name} makes {list(shape)} of {math.prod(value.ours)} values")
    if value.torchs == shape:
        return state
    ending = not any(later.op in (*PRODUCTS, *RECURRENT, "affine") for later in after)
    last = state.layers[-1] if state.layers else None
    if last is not None and last.bound.kind == "dense" and len(value.ours) == 1 and not ending:
        return _with_places(state, last, shape, after)
    if ending and len(value.ours) == 1 and not any(later.op == "permute" for later in after):
        return state
    if ending or state.begins:
        identity = tuple(range(len(value.ours)))
        ready = state if value.order == identity else permuted(state, step.name, identity)
        return reshaped(ready, step.name, shape)
    raise DataError(f"{state.path}: {step.name} changes the shape of values between two layers; it cannot be read")


def _is_prelu(step: Step) -> bool:
    return step.op == "activation" and step.numbers["name"] == "prelu"


def _with_places(state: Chain, last: Made, shape: Shape, after: Sequence[Step]) -> Chain:
    """Return the last dense layer as one that gives places, in the order of the layer after it."""
    first = next(later for later in after if later.op in (*PRODUCTS, *RECURRENT, "affine", *PLACED) or _is_prelu(later))
    units_first = first.op not in ("linear", *RECURRENT) and "axis" not in first.numbers
    order = channels_first(len(shape) - 1) if units_first else tuple(range(len(shape)))
    value = Value((*shape[1:], shape[0]) if units_first else shape, order)
    weight, bias = np.empty_like(last.weight), np.empty_like(last.bias)
    weight[:, value.places], bias[value.places] = last.weight, last.bias
    numbers = {"out": value.ours[-1], "places": value.ours[:-1]}
    given = state._replace(value=Value(last.bound.given, ()))
    bound = _bound(given, last.source, "dense", numbers)
    made = last._replace(bound=bound, weight=weight, bias=bias)
    return state._replace(value=value, layers=(*state.layers[:-1], made))


def _permute(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    value, axes = state.value, tuple(map(int, step.numbers["axes"]))
    if value.flat:
        return state
    if sorted(axes) != list(range(len(value.order))):
        raise DataError(f"{state.path}: {step.name} permutes {len(axes)} axes of values with {len(value.order)}")
    return state._replace(value=value._replace(order=tuple(value.order[axis] for axis in axes)))


def _per_unit(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    """Add a pool, an upsampling or a repetition."""
    if step.op != "repeat":
        state = _ordered(state, step.name, channels_first(len(state.value.ours) - 1))
    places = len(state.value.ours) - 1
    numbers = {
        name: _each(number, places) if name in ("kernel", "stride", "padding", "factor") else number
        for name, number in step.numbers.items()
    }
    made = _bare(state, step.name, step.op, numbers)
    gives = made.bound.gives
    order = state.value.order if len(gives) == len(state.value.order) else tuple(range(len(gives)))
    return state._replace(value=Value(gives, order), layers=(*state.layers, made))


def _any_activation(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    return (_prelu if step.numbers["name"] == "prelu" else _activation)(state, step, after)


TAKES: dict[str, Callable[[Chain, Step, Sequence[Step]], Chain]] = {
    "linear": _linear,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(RECURRENT, _recurrent),
    "affine": _scale,
    "activation": _any_activation,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "reshape": _unflatten,
    "permute": _permute,
    **dict.fromkeys(("max-pool", "avg-pool", "global-avg-pool", "upsample", "repeat"), _per_unit),
}
"""What adds each step that :func:`aecompress.deploy.pretrained.steps.folded` leaves."""
