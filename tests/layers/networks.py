"""Random networks of every kind that is registered, with random masks.

Kinds are named as in a spec, so that a new kind takes part by a row in :data:`LAYERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np

from aecompress.deploy.checkpoint import Model
from aecompress.errors import SpecError
from aecompress.layers.base import Layer, Shape
from aecompress.layers.kinds import KINDS, from_json
from aecompress.nets.shapes import Autoencoder, build

ACTIVATIONS = ("relu", "leaky-relu", "tanh", "sigmoid", "identity")
ROWS: dict[Shape, list[dict[str, Any]]] = {
    (9,): [],
    (6, 3): [],
    (6, 6, 2): [],
    (2, 6, 6): [{"kind": "permute", "axes": (1, 2, 0)}],
    (6, 6): [{"kind": "reshape", "to": (6, 6, 1)}],
}
"""Shapes of a row, and the layer by which a network begins on each."""
ENDS: dict[Shape, list[dict[str, Any]]] = {
    (2, 6, 6): [{"kind": "permute", "axes": (2, 0, 1)}],
    (6, 6): [{"kind": "reshape", "to": (6, 6)}],
}
"""The layer by which it ends there."""
Draw = Callable[[st.SearchStrategy[Any]], Any]


def whole(draw: Draw, least: int, most: int) -> int:
    return int(draw(st.integers(least, most)))


def several(draw: Draw, count: int, least: int, most: int) -> tuple[int, ...]:
    return tuple(whole(draw, least, most) for _ in range(count))


def convolution(draw: Draw, of: Shape) -> dict[str, Any]:
    places = len(of) - 1
    groups = draw(st.sampled_from([1, 1, of[-1], *([2] if of[-1] % 2 == 0 else [])]))
    out = groups * whole(draw, 1, 2) if 1 < groups < of[-1] else of[-1] if groups > 1 else whole(draw, 2, 6)
    return {
        "out": out, "groups": groups, "kernel": several(draw, places, 1, 3), "stride": several(draw, places, 1, 2),
        "padding": several(draw, places, 0, 1), "dilation": several(draw, places, 1, 2),
    }  # fmt: skip


def transposed(draw: Draw, of: Shape) -> dict[str, Any]:
    numbers = convolution(draw, of)
    del numbers["dilation"]
    return numbers | {"output_padding": tuple(whole(draw, 0, step - 1) for step in numbers["stride"])}


def pool(draw: Draw, of: Shape) -> dict[str, Any]:
    places = len(of) - 1
    kernel = several(draw, places, 1, 3)
    padding = tuple(whole(draw, 0, size // 2) for size in kernel)
    return {"kernel": kernel, "stride": several(draw, places, 1, 2), "padding": padding}


def recurrent(draw: Draw, of: Shape) -> dict[str, Any]:
    return {"out": whole(draw, 2, 5), "sequences": draw(st.booleans())}


def dense(draw: Draw, of: Shape) -> dict[str, Any]:
    places = draw(st.sampled_from([(), (), (4,), (3, 4)]))
    return {"out": whole(draw, 2, 6), "places": places}


def enlarged(draw: Draw, of: Shape) -> dict[str, Any]:
    places = len(of) - 1
    mode = draw(st.sampled_from(["nearest", "linear"]))
    return {"factor": several(draw, places, 1, 2), "mode": mode}


def nothing(draw: Draw, of: Shape) -> dict[str, Any]:
    return {}


LAYERS: dict[str, tuple[tuple[int, ...], Callable[[Draw, Shape], dict[str, Any]]]] = {
    "dense": ((1, 2, 3), dense),
    "conv1d": ((2,), convolution),
    "conv2d": ((3,), convolution),
    "conv1d-transpose": ((2,), transposed),
    "conv2d-transpose": ((3,), transposed),
    "max-pool": ((2, 3), pool),
    "avg-pool": ((2, 3), pool),
    "global-avg-pool": ((2, 3), nothing),
    "upsample": ((2, 3), enlarged),
    "repeat": ((1,), lambda draw, of: {"times": whole(draw, 2, 5)}),
    "lstm": ((2,), recurrent),
    "gru": ((2,), recurrent),
    "scale": ((1, 2, 3), nothing),
    "prelu": ((1, 2, 3), nothing),
}
"""For each kind the axes that it can be given, and what draws its numbers."""
ELSEWHERE = {"flatten", "unflatten", "reshape", "permute"}
"""Kinds that are dropped when a network is built, or stand at its ends."""


def layer(draw: Draw, of: Shape, name: str) -> Layer:
    """A layer of a drawn kind that can be given ``of``; a dense one where the drawn one cannot, or gives too much."""
    kind = draw(st.sampled_from([kind for kind, (axes, _) in LAYERS.items() if len(of) in axes and kind in KINDS]))
    activation = draw(st.sampled_from(ACTIVATIONS))
    try:
        made = from_json(name, {"kind": kind, "activation": activation} | LAYERS[kind][1](draw, of))
        if math.prod(made.shape(of)) <= 200:
            return made
    except SpecError:
        pass
    return from_json(name, {"kind": "dense", "out": whole(draw, 2, 6), "activation": activation})


def last(draw: Draw, of: Shape, wanted: Shape, name: str) -> Layer:
    """A layer that gives ``wanted``: a convolution where the places are those already, else a dense one."""
    kind = f"conv{len(wanted) - 1}d"
    numbers: dict[str, Any] = {"kind": "dense", "places": wanted[:-1]}
    if len(wanted) > 1 and of[:-1] == wanted[:-1] and kind in KINDS and draw(st.booleans()):
        numbers = {"kind": kind, "kernel": (3,) * (len(of) - 1), "padding": (1,) * (len(of) - 1)}
    return from_json(name, {"out": wanted[-1], "activation": draw(st.sampled_from(ACTIVATIONS))} | numbers)


@st.composite
def networks(draw: Draw) -> Autoencoder:
    """An autoencoder of two to six random layers between what makes a code, and a row again."""
    row = draw(st.sampled_from([shape for shape, first in ROWS.items() if all(one["kind"] in KINDS for one in first)]))
    parts: dict[str, list[Layer]] = {"encoder": [], "decoder": []}
    of = row

    def put(part: str, one: Layer) -> None:
        nonlocal of
        parts[part].append(one)
        of = one.shape(of)

    for first in ROWS[row]:
        put("encoder", from_json("encoder.0", first))
    inner = of
    for part in parts:
        for _ in range(whole(draw, 1, 3)):
            put(part, layer(draw, of, f"{part}.{len(parts[part])}"))
        if part == "encoder" and draw(st.booleans()):
            put(part, from_json(f"encoder.{len(parts[part])}", {"kind": "dense", "out": 3, "activation": "identity"}))
    put("decoder", last(draw, of, inner, f"decoder.{len(parts['decoder'])}"))
    for end in ENDS.get(row, []):
        put("decoder", from_json(f"decoder.{len(parts['decoder'])}", end))
    if not any(one.matrix(shape).fan_in for one, shape in _given(parts["encoder"], row)):
        put_dense = from_json(f"encoder.{len(parts['encoder'])}", {"kind": "dense", "out": 3, "activation": "tanh"})
        return build([*parts["encoder"], put_dense], [last(draw, (3,), row, "decoder.0")], row)
    return build(parts["encoder"], parts["decoder"], row)


def _given(layers: list[Layer], of: Shape) -> list[tuple[Layer, Shape]]:
    found = []
    for one in layers:
        found.append((one, of))
        of = one.shape(of)
    return found


def masked_model(net: Autoencoder, seed: int, density: float, whole_units: float) -> Model:
    """A model with random weights, of which a share is left, and of each layer's units a share.

    Values neither vanish nor grow from layer to layer, so that differences mean something.
    """
    random, tensors = np.random.default_rng(seed), {}
    for one in net.layers:
        matrix = one.matrix
        weight = random.normal(size=(one.inputs, one.outputs)) * (2 / max(density * min(one.inputs, 50), 1)) ** 0.5
        mask = random.random(weight.shape) < density
        bias = random.normal(size=one.biases) * (random.random(one.biases) < 0.8) * 0.5
        if one.weighted:
            kept = random.random(one.units) < whole_units
            below = np.concatenate([random.random(matrix.below) < whole_units, kept, [True]])
            mask &= kept[matrix.writes] & below[matrix.reads]
            bias = bias * (kept[matrix.writes] | (random.random(one.outputs) < 0.5)) if one.biases else bias
        tensors[one.name + ".weight"] = (weight * mask).astype(np.float32)
        tensors[one.name + ".bias"] = bias.astype(np.float32)
    scaling = {"kind": "none", "offset": 0.0, "divisor": 1.0}
    return Model(encoder=net.encoder, decoder=net.decoder, tensors=tensors, scaling=scaling, about={"metric": "mse"})
