"""The shape of autoencoders: their layers, and how the tensors of these lie in a row of parameters.

torch is only named here, not imported, so that a spec can be completed and printed without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from aecompress.errors import SpecError
from aecompress.layers.base import BoundLayer, Layer, Shape, bind
from aecompress.layers.dense import dense
from aecompress.layers.kinds import KINDS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """Where one tensor of one layer lies in a cell's row of parameters."""

    offset: int
    size: int
    shape: tuple[int, int]


class Layout:
    """How the tensors of a chain of layers lie in a cell's row of ``n`` parameters.

    A population keeps its parameters as one tensor ``[P, n]``, a row per cell, so that copying a cell, ranking all of
    its weights and updating them are each one operation; every layer's weight is a view ``[P, fan_in, columns]`` of it.
    """

    def __init__(self, layers: Sequence[BoundLayer]) -> None:
        self.slots: dict[str, Slot] = {}
        offset = 0
        for layer in layers:
            for kind, shape in (
                ("weight", (layer.inputs, layer.outputs)),
                ("bias", (1, layer.biases)),
            ):
                size = shape[0] * shape[1]
                self.slots[f"{layer.name}.{kind}"] = Slot(offset, size, shape)
                offset += size
        self.size = offset

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of ``flat`` ``[P, n]`` by name: weights ``[P, fan_in, columns]``, biases ``[P, 1, columns]``."""
        return {
            name: flat[:, slot.offset : slot.offset + slot.size].view(len(flat), *slot.shape)
            for name, slot in self.slots.items()
        }


@dataclass(frozen=True)
class Autoencoder:
    """The shape of one autoencoder; all individuals of a population share it.

    ``log_variance`` is the second head of the variational family: it is trained, never pruned and never exported,
    because evaluation uses the mean alone. It therefore lies last in a cell's row of parameters.
    """

    encoder: tuple[BoundLayer, ...]
    decoder: tuple[BoundLayer, ...]
    log_variance: BoundLayer | None = None

    @property
    def layers(self) -> tuple[BoundLayer, ...]:
        """Return encoder and decoder as one chain: what is evaluated, pruned and exported."""
        return self.encoder + self.decoder

    @cached_property
    def weighted(self) -> tuple[BoundLayer, ...]:
        """Return the layers that have weights: those that rules about units go over."""
        return tuple(layer for layer in self.layers if layer.weighted)

    @cached_property
    def units(self) -> int:
        """Return the units of all layers with weights, U."""
        return sum(layer.units for layer in self.weighted)

    @property
    def shape(self) -> Shape:
        """Return the shape of a row as the first layer is given it."""
        return self.encoder[0].given

    @property
    def inputs(self) -> int:
        """Return values of a row, D."""
        return math.prod(self.shape)

    @property
    def latent(self) -> int:
        """Return the size of the latent code."""
        return math.prod(self.encoder[-1].gives)

    @cached_property
    def layout(self) -> Layout:
        """Return where each tensor lies in a cell's row of parameters ``[n]``."""
        heads = () if self.log_variance is None else (self.log_variance,)
        return Layout(self.layers + heads)

    @cached_property
    def model_layout(self) -> Layout:
        """Return where the tensors of encoder and decoder alone lie: in the first columns of a row."""
        return Layout(self.layers)

    @cached_property
    def model_size(self) -> int:
        """Return how many weights and biases encoder and decoder have: the first columns of a row."""
        return self.model_layout.size

    @cached_property
    def layer_sizes(self) -> list[int]:
        """Return how many weights and biases each layer that has any has, as they follow on each other in a row."""
        return [layer.size for layer in self.weighted]

    @cached_property
    def encoder_size(self) -> int:
        """Return how many weights and biases the encoder has: the first columns of a row."""
        return Layout(self.encoder).size

    def split_units(self, units: Tensor) -> list[Tensor]:
        """Return values per unit, ``[..., U]``, cut into one view ``[..., units]`` per layer with weights."""
        first, parts = 0, []
        for layer in self.weighted:
            parts.append(units[..., first : first + layer.units])
            first += layer.units
        return parts


def build(encoder: Sequence[Layer], decoder: Sequence[Layer], shape: Shape, variational: bool = False) -> Autoencoder:
    """Build the autoencoder with these layers on rows of ``shape``.

    Args:
        variational: give it the second head of the variational family, beside the last layer of the encoder.

    Raises:
        SpecError: a layer cannot be given what comes to it, its kind has no torch side, or a part has no weights.
    """
    chain = bind(encoder, shape)
    head = dense("log_variance", chain[-1].inputs, chain[-1].outputs, "identity") if variational else None
    net = Autoencoder(chain, bind(decoder, chain[-1].gives), head)
    for part, own in (("encoder", net.encoder), ("decoder", net.decoder)):
        if not any(layer.weighted for layer in own):
            raise SpecError(f"model.{part}: no layer of it has weights; add one, such as a dense layer")
    if not all(layer.kind in KINDS for layer in net.layers):  # ours have their torch side; a package may lack one
        from aecompress.nets.layers import kind_of

        for layer in net.layers:
            kind_of(layer)
    return net
