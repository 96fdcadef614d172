"""A network as the links of a chain, as the loops for convolutions see it: a product each, and what is around it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

from aecompress.engines.numba.activations import ACTIVATIONS
from aecompress.engines.numba.unfold import Axis, Patches, patches_of
from aecompress.layers.base import BoundLayer
from aecompress.nets.shapes import Autoencoder

PRODUCTS: dict[str, Literal["rows", "patches", "folded"]] = {
    "dense": "rows",
    "conv1d": "patches",
    "conv2d": "patches",
    "conv1d-transpose": "folded",
    "conv2d-transpose": "folded",
}
"""What the product of a kind with weights is of: whole rows, patches of them, or values whose products are patches."""


@dataclass(frozen=True, eq=False)
class Link:
    """A layer with weights, and the activation after it."""

    name: str
    product: Literal["rows", "patches", "folded"]
    activation: int
    """Its place in :data:`aecompress.engines.numba.activations.ACTIVATIONS`."""
    takes: int
    """Values of a row that it is given."""
    gives: int
    units: int
    """Columns of its weight: values that share a bias stand ``units`` apart."""
    fan_in: int
    """Rows of the weight in its product."""
    columns: int
    """Columns of it."""
    taps: int
    """Places of a patch; 1 where the product is of rows."""
    unfolded: int
    """Values of a row's patches; 0 where there are none."""
    patches: Patches | None


@dataclass(frozen=True, eq=False)
class Chain:
    """The links of a network, and which of them made the values of each of its layers."""

    links: tuple[Link, ...]
    makers: tuple[int, ...]
    """Per layer; -1: the rows themselves."""


@functools.lru_cache(maxsize=4)
def chain_of(net: Autoencoder) -> Chain:
    """Return a network, of which :func:`aecompress.engines.compiling.unlinked` says "", as a chain."""
    found: list[tuple[BoundLayer, str]] = []
    makers = []
    for layer in net.layers:
        if layer.weighted:
            found.append((layer, layer.activation))
        elif found and found[-1][1] == "identity":
            found[-1] = (found[-1][0], layer.activation)
        makers.append(len(found) - 1)
    links = tuple(link_of(layer, ACTIVATIONS.index(activation)) for layer, activation in found)
    return Chain(links, tuple(makers))


def link_of(layer: BoundLayer, activation: int) -> Link:
    """Return a layer with weights as a link."""
    product, own = PRODUCTS[layer.kind], layer.matrix
    axes = [] if product == "rows" else axes_of(layer)
    taps = math.prod(axis.kernel for axis in axes)
    folded = product == "folded"
    spread = own.columns if folded else own.fan_in // taps  # units of the side that patches are of
    return Link(
        name=layer.name,
        product=product,
        activation=activation,
        takes=math.prod(layer.given),
        gives=math.prod(layer.gives),
        units=own.columns,
        fan_in=own.fan_in // taps if folded else own.fan_in,
        columns=own.columns * taps if folded else own.columns,
        taps=taps,
        unfolded=math.prod(axis.places for axis in axes) * taps * spread if axes else 0,
        patches=patches_of(axes, spread) if axes else None,
    )


def axes_of(layer: BoundLayer) -> list[Axis]:
    """Return a convolution's axes; of a transposed one, those of the convolution that it is the transpose of."""
    own: Any = layer.layer
    unfolded, places = layer.given[:-1], layer.gives[:-1]
    if PRODUCTS[layer.kind] == "folded":
        unfolded, places = places, unfolded
    spread = getattr(own, "dilation", (1,) * len(unfolded))
    return [Axis(*one) for one in zip(unfolded, places, own.kernel, own.stride, own.padding, spread, strict=True)]
