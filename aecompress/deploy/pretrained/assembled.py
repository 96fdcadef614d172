"""Steps in torch's conventions as layers of ours: values channels-last, weights ``[fan_in, columns]``."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aecompress.deploy.pretrained.base import LayerShape, Pretrained, as_float32
from aecompress.deploy.pretrained.steps import CONVOLUTIONS, PRODUCTS, RECURRENT, SHAPING, Array, Step, folded
from aecompress.errors import DataError, SpecError
from aecompress.layers.activations import IDENTITY
from aecompress.layers.base import BoundLayer, Layer, Shape
from aecompress.layers.kinds import from_json, to_json

DECODER = re.compile(r"(^|[^a-z])(de|dec|decode|decoder)([^a-z]|$)|decoder", re.IGNORECASE)
"""Names of a decoder's layers: ``decoder.0``, ``dec1``, ``dec_1``, ``net.dec.2``."""
MONOTONE = ("relu", "relu6", "leaky-relu", "tanh", "sigmoid", "elu", "selu", "softplus", "softsign")
"""Activations that may stand on either side of a max-pool."""
UNCHANGED = "identity"


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


def assembled(
    path: Path, steps: Sequence[Step], rows: Shape | None = None, own: Shape | None = None, code: str = ""
) -> Pretrained:
    """Return the autoencoder that ``steps`` are, as layers of ours with their tensors.

    Args:
        path: for messages.
        rows: shape of a row of the run; None: as the first step takes it.
        own: shape that the first step is given, in torch's convention; None: the file does not say it.
        code: name of the encoder's last step; "": it is found by names, else the narrowest.

    Raises:
        DataError: a step cannot be a layer, the steps do not follow each other, or they are not an autoencoder.
    """
    chain = folded(path, steps)
    first = next((step for step in chain if step.op in (*PRODUCTS, *RECURRENT)), None)
    if first is None:
        raise DataError(f"{path}: holds no linear layer and no convolution; give the weights of an autoencoder")
    own, rows = _shapes(path, first, rows, own)
    flat = _is_flat(chain, own)
    if flat:
        own = rows = (math.prod(own),)
        start = next(index for index, step in enumerate(chain) if step.op not in SHAPING)
        chain = chain[start:]
    state = Chain(path, Value(rows, tuple(range(len(rows)))))
    if rows != own:
        state = _reshaped(state, "rows", own)
    for index, step in enumerate(chain):
        state = TAKES[step.op](state, step, chain[index + 1 :])
    return _parts(_ended(state, rows), rows, code)


def _shapes(path: Path, first: Step, rows: Shape | None, own: Shape | None) -> tuple[Shape, Shape]:
    """Return the shape that the first step is given, and that of a row.

    Raises:
        DataError: rows of that shape do not say where a convolution's channels are.
    """
    count = _inputs(first)
    if own is None and rows is None:
        own = (count,)
    if own is not None:
        fits = rows is not None and math.prod(rows) == math.prod(own)
        return own, rows if fits and rows is not None else own
    assert rows is not None
    if first.op == "linear":
        takes = rows if len(rows) > 1 and count == rows[-1] and count != math.prod(rows) else (count,)
        return takes, takes if math.prod(takes) != math.prod(rows) else rows
    places = 2 if first.op.startswith("conv2d") else 1
    if first.op in RECURRENT:
        shapes: list[Shape] = [rows] if len(rows) == 2 and rows[1] == count else []
    else:
        shapes = [(1, *rows)] if count == 1 and len(rows) == places else []
        shapes += [rows] if len(rows) == places + 1 and rows[0] == count else []
        shapes += [rows[-1:] + rows[:-1]] if len(rows) == places + 1 and rows[-1] == count else []
    if not shapes:
        needed = {"conv2d": "[C, H, W] or [H, W, C]", "conv1d": "[C, L] or [L, C]"}.get(first.op[:6], "[L, C]")
        raise DataError(
            f"{path}: {first.name} ({first.op}) takes {count} channel(s), the rows have shape {list(rows)}; "
            f"give rows of shape {needed}"
        )
    return shapes[0], rows


def _inputs(step: Step) -> int:
    if step.op in RECURRENT:
        return int(step.tensors["weight_ih_l0"].shape[1])
    weight = step.tensors["weight"]
    return len(weight) if step.op.endswith("-transpose") else weight.shape[1] * int(step.numbers.get("groups", 1))


def _is_flat(chain: Sequence[Step], own: Shape) -> bool:
    """Return whether a chain takes all values of a row at once, in their order."""
    for step in chain:
        if step.op == "linear":
            return _inputs(step) == math.prod(own)
        if step.op not in ("flatten", "reshape", "unflatten", "affine") or (
            step.op == "affine" and len(step.tensors["weight"]) not in (1, math.prod(own))
        ):
            return False
    return False


def _reshaped(state: Chain, name: str, shape: Shape) -> Chain:
    """Give values another shape in our own order."""
    made = _bare(state, name, "reshape", {"shape": shape})
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
    return _permuted(state, name, order)


def _permuted(state: Chain, name: str, order: tuple[int, ...]) -> Chain:
    """Write a permutation after which torch's axis i is our axis ``order[i]``."""
    value = state.value
    axes = tuple(value.order[order.index(axis)] for axis in range(len(order)))
    made = _bare(state, name, "permute", {"axes": axes})
    return state._replace(value=Value(tuple(value.ours[axis] for axis in axes), order), layers=(*state.layers, made))


def _channels_first(places: int) -> tuple[int, ...]:
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
    return Made(name, bound, bound.layer.from_torch(bound.given, tensors["weight"]), tensors["bias"])


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
    return _weighted(
        state, step, _bound(state, step.name, "dense", {"out": len(weight)}), {"weight": weight, "bias": bias}
    )


def _convolution(state: Chain, step: Step, after: Sequence[Step]) -> Chain:
    places = 2 if step.op.startswith("conv2d") else 1
    state = _ordered(state, step.name, _channels_first(places))
    weight = step.tensors["weight"]
    if len(state.value.torchs) != places + 1 or state.value.torchs[0] != _inputs(step):
        raise DataError(
            f"{state.path}: {step.name} ({step.op}) takes {_inputs(step)} channels, it is given values of shape "
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
        state = _ordered(state, step.name, _channels_first(len(value.ours) - 1))
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
    units = state.value.ours[-1]
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
        ready = state if value.order == identity else _permuted(state, step.name, identity)
        return _reshaped(ready, step.name, shape)
    raise DataError(f"{state.path}: {step.name} changes the shape of values between two layers; it cannot be read")


def _with_places(state: Chain, last: Made, shape: Shape, after: Sequence[Step]) -> Chain:
    """Return the last dense layer as one that gives places, in the order of the layer after it."""
    first = next(later for later in after if later.op in (*PRODUCTS, *RECURRENT, "affine"))
    units_first = first.op in (*CONVOLUTIONS, "affine") and "axis" not in first.numbers
    order = _channels_first(len(shape) - 1) if units_first else tuple(range(len(shape)))
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
        state = _ordered(state, step.name, _channels_first(len(state.value.ours) - 1))
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


def _ended(state: Chain, rows: Shape) -> Chain:
    """Return the chain with layers that give what it gives in the shape of a row."""
    value, identity = state.value, tuple(range(len(state.value.ours)))
    if math.prod(value.ours) != math.prod(rows) or len([made for made in state.layers if made.bound.size]) < 2:
        weighted = sum(made.bound.size > 0 for made in state.layers)
        raise DataError(
            f"{state.path}: goes from {math.prod(rows)} to {math.prod(value.ours)} values in {weighted} layer(s); "
            "an autoencoder reconstructs its inputs from a latent code"
        )
    if value.order != identity and value.ours != rows:
        state = _permuted(state, "rows", identity)
    return state if state.value.ours == rows else _reshaped(state, "rows", rows)


def _parts(state: Chain, rows: Shape, code: str) -> Pretrained:
    """Name the layers of encoder and decoder."""
    path, split = state.path, _decoder_start(state.layers, code)
    shapes, tensors = list[LayerShape](), dict[str, Any]()
    for index, made in enumerate(state.layers):
        name = f"encoder.{index}" if index < split else f"decoder.{index - split}"
        shapes.append(_layer_shape(name, made))
        tensors[f"{name}.weight"] = as_float32(path, made.source, made.weight)
        tensors[f"{name}.bias"] = as_float32(path, made.source, made.bias)
    return Pretrained(
        inputs=math.prod(rows), encoder=tuple(shapes[:split]), decoder=tuple(shapes[split:]), tensors=tensors
    )


def _layer_shape(name: str, made: Made) -> LayerShape:
    layer: Layer = dataclasses.replace(made.bound.layer, name=name)  # type: ignore[type-var]
    numbers = to_json(layer)
    for known in ("kind", "out", "activation"):
        numbers.pop(known, None)
    return LayerShape(
        name=name,
        inputs=math.prod(made.bound.given),
        outputs=made.bound.units,
        activation=made.activation,
        kind=made.bound.kind,
        numbers=numbers,
    )


def _decoder_start(layers: Sequence[Made], code: str) -> int:
    """Return the index of the decoder's first layer: after ``code``, by name, or after the narrowest layer.

    Of several as narrow, the one in the middle; what has no weights, or one a unit, stays with the layer before it.
    """
    weighted = [
        index for index, made in enumerate(layers) if made.bound.kind not in ("scale", "prelu") and made.bound.size
    ]
    last = [index for index, made in enumerate(layers[: weighted[-1]]) if code and made.source == code]
    if last:
        return last[-1] + 1
    named = [index for index in weighted if DECODER.search(layers[index].source)]
    if named and named[0] > weighted[0]:
        return named[0]
    sizes = [math.prod(made.bound.gives) for made in layers]
    narrow = min(sizes[: weighted[-1]])
    ties = [index for index in range(weighted[-1]) if sizes[index] == narrow and (index in weighted or not index)]
    ties = ties or [sizes.index(narrow)]
    split = ties[(len(ties) - 1) // 2] + 1
    while split < weighted[-1] and split not in weighted and sizes[split] == narrow:
        split += 1
    return split
