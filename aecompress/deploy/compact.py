"""Exact compaction: the same function in a smaller dense chain (ALGORITHMS B6).

A unit without incoming weights is a constant, folded into the next layer's bias through its activation; a unit without
outgoing weights is dropped; inputs that no weight reads are skipped by one Gather where that pays. Two layers with no
activation between them become one where that has no more weights, as a narrow joined chain has around a linear latent
code. Inputs and outputs of a chain keep their number, so an encoder keeps its latent size; inside the joined chain
latent units go like others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats, LayerShape
from aecompress.deploy.reference import ACTIVATIONS

GATHER_COST = 350
"""Multiply-adds of a product that take as long as gathering one value: 4.4 ns of an AVX-512 core, one thread."""


@dataclass(frozen=True)
class Dense:
    """One linear layer and the activation after it."""

    name: str
    weight: Floats
    """``[in, out]``."""
    bias: Floats
    """``[out]``."""
    activation: str
    folded: bool = False
    """Whether the bias has taken in more than the trained one."""

    @property
    def tensors(self) -> dict[str, Floats]:
        """Weight and bias by the names they have in files."""
        bias = f"{self.name}.bias.folded" if self.folded else f"{self.name}.bias"
        return {f"{self.name}.weight": self.weight, bias: self.bias}


@dataclass(frozen=True)
class Chain:
    """Layers that follow each other, and which of the ``width`` inputs given to them the first one reads."""

    width: int
    layers: tuple[Dense, ...]
    reads: NDArray[np.int64] | None = None
    """None: all of them."""

    @property
    def nonzeros(self) -> int:
        """Weights and biases that are not zero."""
        return sum(int(np.count_nonzero(tensor)) for layer in self.layers for tensor in layer.tensors.values())


def chain_of(layers: Sequence[LayerShape], tensors: Mapping[str, Floats]) -> Chain:
    """The layers as trained, of their full shapes; a negative zero, which masks leave behind, becomes a plain one."""
    zero = np.float32(0)
    return Chain(
        layers[0].inputs,
        tuple(
            Dense(
                layer.name,
                np.ascontiguousarray(tensors[layer.name + ".weight"].T) + zero,
                tensors[layer.name + ".bias"] + zero,
                layer.activation,
            )
            for layer in layers
        ),
    )


def compact(chain: Chain) -> Chain:
    """The smallest chain with the same function, to float rounding.

    A layer that loses every unit keeps one, with no weights.
    """
    smaller = swept(chain)
    while shapes(smaller) != shapes(chain):  # layers that became one may leave less between their neighbours
        chain, smaller = smaller, swept(smaller)
    return smaller


def shapes(chain: Chain) -> list[tuple[int, ...]]:
    """Of each layer's weight, ``(in, out)``."""
    return [layer.weight.shape for layer in chain.layers]


def swept(chain: Chain) -> Chain:
    """Constants folded, unread units dropped, layers joined, unread inputs skipped.

    One sweep forward and one backward find all units: dropping a constant takes only weights from the layer after it,
    dropping an unread unit only weights from the layer before it.
    """
    layers = list(chain.layers)
    for here in range(len(layers) - 1):
        layers[here], layers[here + 1] = without_constants(layers[here], layers[here + 1])
    for here in range(len(layers) - 2, -1, -1):
        layers[here], layers[here + 1] = without_unread(layers[here], layers[here + 1])
    for here in range(len(layers) - 2, -1, -1):
        if no_wider(layers[here], layers[here + 1]):
            layers[here : here + 2] = [as_one(layers[here], layers[here + 1])]
    first = layers[0]
    read = np.flatnonzero(first.weight.any(1))
    read = read if len(read) else np.zeros(1, np.int64)
    reads = None
    if (len(first.weight) - len(read)) * first.weight.shape[1] > GATHER_COST * len(read):
        layers[0] = replace(first, weight=np.ascontiguousarray(first.weight[read]))
        reads = read if chain.reads is None else chain.reads[read]
    return Chain(chain.width, tuple(layers), chain.reads if reads is None else reads)


def without_constants(layer: Dense, after: Dense) -> tuple[Dense, Dense]:
    """Fold the units of ``layer`` that nothing feeds into the bias of the layer ``after`` it."""
    constant = np.count_nonzero(layer.weight, axis=0) == 0
    if not constant.any():
        return layer, after
    values = ACTIVATIONS[layer.activation](layer.bias[constant].astype(np.float64))
    added = values @ after.weight[constant].astype(np.float64)
    if added.any():
        after = replace(after, bias=(after.bias + added).astype(np.float32), folded=True)
    return kept(layer, after, ~constant)


def without_unread(layer: Dense, after: Dense) -> tuple[Dense, Dense]:
    """Drop the units of ``layer`` that the layer ``after`` it does not read."""
    read = np.count_nonzero(after.weight, axis=1) > 0
    return (layer, after) if read.all() else kept(layer, after, read)


def no_wider(layer: Dense, after: Dense) -> bool:
    """Whether the two layers are one product with no more weights than they have that are not zero."""
    theirs = np.count_nonzero(layer.weight) + np.count_nonzero(after.weight)
    return layer.activation == "identity" and len(layer.weight) * after.weight.shape[1] <= theirs


def as_one(layer: Dense, after: Dense) -> Dense:
    """(x V + a) W + b as x (V W) + (a W + b)."""
    weight = after.weight.astype(np.float64)
    return Dense(
        f"{layer.name}.{after.name}",
        (layer.weight @ weight).astype(np.float32),
        (layer.bias @ weight + after.bias).astype(np.float32),
        after.activation,
        folded=True,
    )


def kept(layer: Dense, after: Dense, units: NDArray[np.bool_]) -> tuple[Dense, Dense]:
    """Both layers with only those ``units`` between them; where there are none, with one that does nothing."""
    if not units.any():
        alone = replace(layer, weight=np.zeros_like(layer.weight[:, :1]), bias=np.zeros_like(layer.bias[:1]))
        return alone, replace(after, weight=np.zeros_like(after.weight[:1]))
    return (
        replace(layer, weight=np.ascontiguousarray(layer.weight[:, units]), bias=layer.bias[units]),
        replace(after, weight=np.ascontiguousarray(after.weight[units])),
    )


def run(chain: Chain, rows: Floats, dtype: type[np.floating[Any]] = np.float64) -> NDArray[np.float64]:
    """The chain's output on ``rows`` ``[N, width]``, computed in ``dtype``: a reference for rounded chains."""
    values = np.asarray(rows if chain.reads is None else rows[:, chain.reads], dtype)
    for layer in chain.layers:
        values = ACTIVATIONS[layer.activation](values @ layer.weight.astype(dtype) + layer.bias.astype(dtype))
    return values
