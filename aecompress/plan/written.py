"""Layers that are written out: what they leave to be understood is put in, and what says nothing is left out.

A dense layer takes rows of any shape and can give places itself, so ``flatten`` before it and ``unflatten`` behind it
are not needed. Values inside are channels-last: rows of another order are brought to it before the first layer, and
back behind the last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from aecompress.errors import SpecError
from aecompress.layers.base import Layer, Shape
from aecompress.layers.dense import Dense
from aecompress.layers.kinds import from_json, numbers_of
from aecompress.layers.names import SHAPING
from aecompress.plan.conv import arranged, reshape
from aecompress.spec.fields import LayerSpec

PLACES = {"conv1d": 1, "conv1d-transpose": 1, "lstm": 1, "gru": 1, "conv2d": 2, "conv2d-transpose": 2}
"""Axes of places that rows must have, by the kind of the first layer."""
IN_ORDER = ("flatten", "unflatten", "reshape")
"""Kinds that leave the values of a row in their order."""


class Written(NamedTuple):
    """A layer as a spec has it."""

    part: str
    """encoder or decoder."""
    number: int
    """Its place in that, from 0; of a layer that is put in, that of the one beside it."""
    layer: LayerSpec

    @property
    def where(self) -> str:
        """Return where a user finds it, for messages."""
        return f"model.{self.part}: layer {self.number}"

    @property
    def kind(self) -> str:
        """Return the kind's name."""
        return self.layer.kind

    def but(self, **fields: object) -> Written:
        """Return it with some fields of the layer set."""
        return self._replace(layer=LayerSpec.model_validate(self.layer.model_dump() | fields))


def completed(
    encoder: Sequence[LayerSpec], decoder: Sequence[LayerSpec], row: Shape, windows: bool
) -> tuple[Shape, list[Written]]:
    """Return what the first layer is given, and the layers that a network is built from.

    Args:
        row: the shape of a row; windows: whether it is a window of a series, ``(length, ...)``.

    Raises:
        SpecError: a layer cannot be given what comes to it, or changes shapes where no layer may.
    """
    given, layers = as_brought(encoder, decoder, row)
    skipped = leading(layers)
    for one in layers[:skipped]:
        given = made(as_reshape(one, given)).shape(given)
    if skipped:
        given, layers = (math.prod(row),), layers[skipped:]
    places = PLACES.get(layers[0].kind)
    if places is not None:
        front = arranged(row, places, windows).front
        layers = [*(Written("encoder", 0, layer) for layer in front), *layers]
    layers, gives = simplified(layers, given)
    layers += [layers[-1]._replace(layer=layer) for layer in closing(gives, given, row, windows)]
    return given, with_output_last(without_repeats(layers))


def as_brought(encoder: Sequence[LayerSpec], decoder: Sequence[LayerSpec], row: Shape) -> tuple[Shape, list[Written]]:
    """Return what the first layer is given, and the layers as they are: those of a pretrained model say all."""
    layers = [
        Written(part, number, layer)
        for part, written in (("encoder", encoder), ("decoder", decoder))
        for number, layer in enumerate(written)
    ]
    flat = layers[0].kind not in SHAPING and made(layers[0]).flattens
    return (math.prod(row),) if flat else row, layers


def leading(layers: Sequence[Written]) -> int:
    """Return how many layers at the front only change the shape of rows that a dense layer flattens."""
    first = next((at for at, one in enumerate(layers) if one.kind not in IN_ORDER), 0)
    return first if layers[first].kind == Dense.kind else 0


def simplified(layers: Sequence[Written], given: Shape) -> tuple[list[Written], Shape]:
    """Return layers without those that dense layers make needless, and the shape of what the last one gives.

    Raises:
        SpecError: a layer cannot be given what comes to it, or changes shapes where no layer may.
    """
    found: list[Written] = []
    shape, weighted, skipped = given, False, -1
    for at, one in enumerate(layers):
        if at == skipped:
            continue
        plain, rest = as_reshape(one, shape), layers[at + 1 :]
        gives = made(plain).shape(shape)
        inside = one.kind in SHAPING and weighted and any(other.kind not in SHAPING for other in rest)
        if inside and one.layer.activation != "identity":
            raise SpecError(f"{one.where}: a {one.kind} layer has no activation; give it to the layer before")
        if inside and one.kind in IN_ORDER and (gives == shape or next_kind(rest) == Dense.kind):
            continue
        if inside and one.kind in IN_ORDER and shape == undone(rest[0], gives):
            skipped = at + 1
        elif inside and one.kind in IN_ORDER and found[-1].kind == Dense.kind:
            found[-1] = found[-1].but(out=gives[-1], places=gives[:-1])
            shape = gives
        elif inside:
            raise SpecError(
                f"{one.where}: a {one.kind} layer here would mix the units of the layer before; these can change shape "
                "before a dense layer, behind one, and at the two ends of a network"
            )
        else:
            found.append(plain)
            shape, weighted = gives, weighted or one.kind not in SHAPING
    return found, shape


def as_reshape(written: Written, given: Shape) -> Written:
    """Return ``flatten`` and ``unflatten``, on rows of shape ``given``, as the ``reshape`` that they are."""
    if written.kind not in ("flatten", "unflatten"):
        return written
    fields = written.layer.model_dump() | {"kind": "reshape"}
    flat = {"to": [math.prod(given)]} if written.kind == "flatten" else {}
    return written._replace(layer=LayerSpec.model_validate(fields | flat))


def undone(after: Written, given: Shape) -> Shape | None:
    """Return the shape that the layer ``after`` gives, where it leaves values in their order; else None."""
    return made(as_reshape(after, given)).shape(given) if after.kind in IN_ORDER else None


def next_kind(layers: Sequence[Written]) -> str:
    """Return the kind of the first layer that does not leave the values of a row in their order."""
    return next((one.kind for one in layers if one.kind not in IN_ORDER), "")


def closing(gives: Shape, given: Shape, row: Shape, windows: bool) -> tuple[LayerSpec, ...]:
    """Return the layers that bring what the last layer gives to the shape that the first one is given; none if they
    cannot.

    Args:
        gives: of the last layer; given: to the first one: ``row`` or as many values in one axis.
    """
    if gives == given:
        return ()
    inside = arranged(row, len(gives) - 1, windows) if len(gives) in (2, 3) else None
    if inside is not None and inside.shape == gives:
        return inside.back if given == row else (*inside.back, reshape(given))
    one_axis = len(gives) == 1 or len(given) == 1
    return (reshape(given),) if one_axis and math.prod(gives) == math.prod(given) else ()


def without_repeats(layers: Sequence[Written]) -> list[Written]:
    """Return layers of which no ``reshape`` is followed by another, which alone would do."""
    pairs = zip(layers, [*layers[1:], None], strict=True)
    return [one for one, after in pairs if after is None or not one.kind == after.kind == "reshape"]


def with_output_last(layers: list[Written]) -> list[Written]:
    """Return layers of which the last one has the activation of the output, though it may only change the shape.

    What is computed for each value alone can be computed before or behind that.
    """
    last = max((at for at, one in enumerate(layers) if one.kind not in SHAPING), default=len(layers) - 1)
    if last == len(layers) - 1 or layers[-1].layer.activation != "identity":
        return layers
    activation = layers[last].layer.activation
    moved = [*layers[:last], layers[last].but(activation="identity"), *layers[last + 1 : -1]]
    return [*moved, layers[-1].but(activation=activation)]


def made(written: Written, name: str = "") -> Layer:
    """Make one layer, named as in the spec where no other name is given.

    Raises:
        SpecError: of no known kind, or with numbers that its kind does not have or lacks.
    """
    layer = written.layer
    try:
        found = from_json(name or f"{written.part}.{written.number}", layer.model_dump())
    except SpecError as fault:
        raise SpecError([f"{written.where}: {sentence}" for sentence in fault.faults]) from fault
    unknown = sorted(set(layer.model_extra or {}) - set(numbers_of(type(found))))
    if unknown:
        raise SpecError(f"{written.where}: a {layer.kind} layer has no {unknown[0]!r}; leave it out")
    return found
