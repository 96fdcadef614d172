"""Networks of convolutions, chosen from the shape of a row: images, and windows of a series.

The layers are those of a spec, so that a network that is chosen is built as one that is written out. Values inside are
channels-last, so rows of another order are first brought to it, and the output back.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from aecompress.errors import SpecError
from aecompress.layers.base import Shape
from aecompress.spec.fields import LayerSpec, ModelSpec

KERNEL = {1: 5, 2: 3}
"""Values of a kernel on each axis, by axes of places."""
SMALLEST = {1: 8, 2: 4}
"""Places on the longest axis at which no further layer halves them."""
MOST = 5
"""Layers that halve the places."""
CHANNELS = 16, 128
"""Channels of the first layer, which double from layer to layer, and the most."""
NARROW = 4
"""Rows of two axes of which one is so many times as long as the other are no images but series."""


class Arrangement(NamedTuple):
    """How rows come to places and channels, and back."""

    shape: Shape
    """``(*places, channels)``."""
    front: tuple[LayerSpec, ...] = ()
    """Layers without weights from a row to ``shape``."""
    back: tuple[LayerSpec, ...] = ()
    """Those from ``shape`` to a row."""


def reshape(shape: Shape) -> LayerSpec:
    """Return the layer that gives its values in another shape."""
    return _layer(kind="reshape", to=shape, activation="identity")


def permute(axes: Shape) -> LayerSpec:
    """Return the layer that gives its values with the axes in another order."""
    return _layer(kind="permute", axes=axes, activation="identity")


def _layer(**fields: Any) -> LayerSpec:
    return LayerSpec.model_validate(fields)


def is_series(shape: Shape, windows: bool) -> bool:
    """Return whether rows are series: windows, or of two axes one of which is far longer than the other."""
    return windows or (len(shape) == 2 and max(shape) >= NARROW * min(shape))


def arranged(shape: Shape, places: int, windows: bool) -> Arrangement:
    """Return how rows of ``shape`` come to so many axes of places and one of channels.

    Of three axes the first has the channels where it is the shortest (images as torch has them), else the last; of two,
    the first of a series where it is far shorter than the second.

    Args:
        places: 1 or 2.
        windows: whether a row is a window of a series, ``(length, *row)``.
    """
    if places == 1:
        if len(shape) == 2:
            first = not windows and shape[1] >= NARROW * shape[0]
            return Arrangement(shape[::-1], (permute((1, 0)),), (permute((1, 0)),)) if first else Arrangement(shape)
        length = shape[0] if windows else math.prod(shape)
        inside: Shape = (length, math.prod(shape) // length)
    elif len(shape) == 3:
        if shape[0] < min(shape[1:]):
            return Arrangement((*shape[1:], shape[0]), (permute((1, 2, 0)),), (permute((2, 0, 1)),))
        return Arrangement(shape)
    elif len(shape) == 2:
        inside = (*shape, 1)
    else:
        return Arrangement(shape)  # the first layer refuses it, with its shape
    return Arrangement(inside, (reshape(inside),), (reshape(shape),))


def chosen_arrangement(shape: Shape, windows: bool) -> Arrangement:
    """Return how rows come to places and channels, where no layer says how many axes of places there are.

    Raises:
        SpecError: they have no places.
    """
    if windows or (len(shape) == 2 and is_series(shape, windows)):
        return arranged(shape, 1, windows)
    if len(shape) in (2, 3):
        return arranged(shape, 2, windows)
    values = "x".join(map(str, shape))
    raise SpecError(
        f"model.network = 'conv': convolves over neighbours, and a row of {values} values says of none; give images as "
        "an array [N, H, W] or [N, H, W, C], a series as [N, L, C] or by --window, or choose another network"
    )


def conv_channels(shape: Shape, windows: bool) -> tuple[int, ...]:
    """Return the channels of the encoder's layers: each halves the places until few are left.

    Raises:
        SpecError: rows have no places.
    """
    *places, _ = chosen_arrangement(shape, windows).shape
    halvings = math.ceil(math.log2(max(max(places) / SMALLEST[len(places)], 1)))
    first, most = CHANNELS
    return tuple(min(first << layer, most) for layer in range(min(max(halvings, 1), MOST)))


def conv_layers(model: ModelSpec, shape: Shape, windows: bool) -> tuple[tuple[LayerSpec, ...], tuple[LayerSpec, ...]]:
    """Return encoder and decoder of convolutions on rows of ``shape``.

    Each layer of the encoder halves the places (stride 2, rounded up) and gives ``model.hidden`` channels; a dense
    layer gives the latent code. The decoder mirrors it, so that each layer gives what its counterpart was given.

    Args:
        model: complete in its hidden, latent and activations.

    Raises:
        SpecError: rows have no places, or there are no channels.
    """
    assert model.hidden != "auto" and model.latent != "auto"
    if not model.hidden:
        raise SpecError("model.hidden = []: are the channels under model.network = 'conv'; give some, such as 16,32")
    inside = chosen_arrangement(shape, windows)
    *places, channels = inside.shape
    axes = len(places)
    numbers = {"kernel": (KERNEL[axes],) * axes, "stride": (2,) * axes, "padding": (KERNEL[axes] // 2,) * axes}
    sizes = [tuple(places)]
    for _ in model.hidden:
        sizes.append(tuple(-(-size // 2) for size in sizes[-1]))
    down = [_layer(kind=f"conv{axes}d", out=out, activation=model.activation, **numbers) for out in model.hidden]
    up = []
    gives = [(channels, model.output), *((out, model.activation) for out in model.hidden[:-1])]
    for larger, (out, activation) in zip(sizes[:-1], gives, strict=True):
        odd = tuple(1 - size % 2 for size in larger)  # of 2 m places or of 2 m - 1, both of which m came from
        kind = f"conv{axes}d-transpose"
        up.append(_layer(kind=kind, out=out, activation=activation, output_padding=odd, **numbers))
    code = _layer(out=model.latent, activation=model.latent_activation)
    first = _layer(out=model.hidden[-1], places=sizes[-1], activation=model.activation)
    return (*inside.front, *down, code), (first, *reversed(up), *inside.back)
