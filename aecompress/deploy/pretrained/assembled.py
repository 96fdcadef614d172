"""Steps in torch's conventions as layers of ours: values channels-last, weights ``[fan_in, columns]``."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aecompress.deploy.pretrained.base import LayerShape, Pretrained, as_float32
from aecompress.deploy.pretrained.chain import TAKES, Chain, Made, Value, channels_first, permuted, reshaped
from aecompress.deploy.pretrained.steps import PRODUCTS, RECURRENT, SHAPING, Step, folded, inputs
from aecompress.errors import DataError
from aecompress.layers.base import Layer, Shape
from aecompress.layers.kinds import to_json

DECODER = re.compile(r"(^|[^a-z])(de|dec|decode|decoder)([^a-z]|$)|decoder", re.IGNORECASE)
"""Names of a decoder's layers: ``decoder.0``, ``dec1``, ``dec_1``, ``net.dec.2``."""


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
    own, rows = shapes_of(path, first, rows, own)
    flat = _is_flat(chain, own)
    if flat:
        own = rows = (math.prod(own),)
        start = next(index for index, step in enumerate(chain) if step.op not in SHAPING)
        chain = chain[start:]
    state = Chain(path, Value(rows, tuple(range(len(rows)))))
    if rows != own and len(rows) > 1 and rows[-1:] + rows[:-1] == own:
        state = state._replace(value=Value(rows, channels_first(len(rows) - 1)))
    elif rows != own:
        state = reshaped(state, "rows", own)
    for index, step in enumerate(chain):
        state = TAKES[step.op](state, step, chain[index + 1 :])
    return _parts(_ended(state, rows), rows, code)


def shapes_of(path: Path, first: Step, rows: Shape | None, own: Shape | None) -> tuple[Shape, Shape]:
    """Return the shape that the first step is given, and that of a row.

    Raises:
        DataError: rows of that shape do not say where a convolution's channels are.
    """
    count = inputs(first)
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


def _is_flat(chain: Sequence[Step], own: Shape) -> bool:
    """Return whether a chain takes all values of a row at once, in their order."""
    for step in chain:
        if step.op == "linear":
            return inputs(step) == math.prod(own)
        if step.op not in ("flatten", "reshape", "unflatten", "affine") or (
            step.op == "affine" and len(step.tensors["weight"]) not in (1, math.prod(own))
        ):
            return False
    return False


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
        state = permuted(state, "rows", identity)
    return state if state.value.ours == rows else reshaped(state, "rows", rows)


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
    inside = range(weighted[0], weighted[-1])
    narrow = min(sizes[index] for index in inside)
    ties = [index for index in inside if sizes[index] == narrow and index in weighted]
    ties = ties or [next(index for index in inside if sizes[index] == narrow)]
    split = ties[(len(ties) - 1) // 2] + 1
    while split < weighted[-1] and split not in weighted and sizes[split] == narrow:
        split += 1
    return split
