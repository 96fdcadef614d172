"""Exact compaction: the same function in a smaller chain (ALGORITHMS B6).

A unit without incoming weights is a constant, folded into the next layer's bias through its activation; a unit without
outgoing weights is dropped; inputs that no weight reads are skipped by one Gather where that pays. Two products with no
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

from aecompress.deploy.checkpoint import Floats
from aecompress.layers.activations import IDENTITY, activation_of
from aecompress.layers.base import BoundLayer, Matrix, Shape
from aecompress.layers.dense import dense
from aecompress.layers.units import Mask, columns_of, fed, read, rows_of

GATHER_COST = 350
"""Multiply-adds of a product that take as long as gathering one value: 4.4 ns of an AVX-512 core, one thread."""


@dataclass(frozen=True)
class Weighted:
    """One layer with its tensors."""

    bound: BoundLayer
    weight: Floats
    """``[fan_in, columns]``."""
    bias: Floats
    """``[columns]``."""
    folded: bool = False
    """Whether the bias has taken in more than the trained one."""

    @property
    def name(self) -> str:
        """Return the prefix of its tensors' names."""
        return self.bound.name

    @property
    def activation(self) -> str:
        """Return the activation after it."""
        return self.bound.activation

    @property
    def matrix(self) -> Matrix:
        """Return the maps of its weight."""
        return self.bound.matrix

    @property
    def product(self) -> bool:
        """Return whether it is one product of rows and matrix."""
        return self.bound.layer.product

    @property
    def tensors(self) -> dict[str, Floats]:
        """Return weight and bias by the names they have in files."""
        bias = f"{self.name}.bias.folded" if self.folded else f"{self.name}.bias"
        return {f"{self.name}.weight": self.weight, bias: self.bias}

    def before(self, values: NDArray[Any], dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """Compute what the layer gives before its activation on ``values`` ``[N, *given]``."""
        return self.bound.layer.reference(values, self.weight.astype(dtype), self.bias.astype(dtype))


@dataclass(frozen=True)
class Chain:
    """Layers that follow each other, and which of the inputs given to them the first one reads."""

    shape: Shape
    """Of one row that is given."""
    layers: tuple[Weighted, ...]
    reads: NDArray[np.int64] | None = None
    """None: all of them."""

    @property
    def nonzeros(self) -> int:
        """Return the number of weights and biases that are not zero."""
        return sum(int(np.count_nonzero(tensor)) for layer in self.layers for tensor in layer.tensors.values())


def chain_of(layers: Sequence[BoundLayer], tensors: Mapping[str, Floats]) -> Chain:
    """Return the layers as trained, of their full shapes.

    A negative zero, which masks leave behind, becomes a plain one.
    """
    zero = np.float32(0)
    return Chain(
        layers[0].given,
        tuple(
            Weighted(layer, tensors[layer.name + ".weight"] + zero, tensors[layer.name + ".bias"] + zero)
            for layer in layers
        ),
    )


def compact(chain: Chain) -> Chain:
    """Return the smallest chain with the same function, to float rounding.

    A layer that loses every unit keeps one, with no weights.
    """
    smaller = swept(chain)
    while shapes(smaller) != shapes(chain):  # layers that became one may leave less between their neighbours
        chain, smaller = smaller, swept(smaller)
    return smaller


def shapes(chain: Chain) -> list[tuple[int, ...]]:
    """Return the shape of each layer's weight, ``(fan_in, columns)``."""
    return [layer.weight.shape for layer in chain.layers]


def swept(chain: Chain) -> Chain:
    """Fold constants, drop unread units, join products, skip unread inputs.

    One sweep forward and one backward find all units: dropping a constant takes only weights from the layer after it,
    dropping an unread unit only weights from the layer before it.
    """
    layers = list(chain.layers)
    for here in range(len(layers) - 1):
        fold_constants(layers, here)
    for here in range(len(layers) - 2, -1, -1):
        drop(layers, here, read(layers[here + 1].matrix, layers[here + 1].weight))
    for here in range(len(layers) - 2, -1, -1):
        if no_wider(layers[here], layers[here + 1]):
            layers[here : here + 2] = [as_one(layers[here], layers[here + 1])]
    reads = read_inputs(layers[0])
    if reads is None:
        return Chain(chain.shape, tuple(layers), chain.reads)
    first = layers[0]
    narrowed = BoundLayer(first.bound.layer, (len(reads),))
    layers[0] = replace(first, bound=narrowed, weight=np.ascontiguousarray(first.weight[reads]))
    return Chain(chain.shape, tuple(layers), reads if chain.reads is None else chain.reads[reads])


def read_inputs(first: Weighted) -> NDArray[np.int64] | None:
    """Return the inputs that the first layer reads, where taking them out by a Gather pays; else None."""
    if not first.product or len(first.bound.given) != 1:
        return None
    found = np.flatnonzero(first.weight.any(1))
    found = found if len(found) else np.zeros(1, np.int64)
    saved = (len(first.weight) - len(found)) * first.weight.shape[1]
    return found if saved > GATHER_COST * len(found) else None


def fold_constants(layers: list[Weighted], here: int) -> None:
    """Fold the units of layer ``here`` that nothing feeds into the bias of the next one, and drop them; in place."""
    layer, after = layers[here], layers[here + 1]
    constant = ~fed(layer.matrix, layer.weight)
    # Units of a tied layer that keeps them all keep theirs below too, and their weights as trained.
    stuck = after.matrix.tied and (here + 2 == len(layers) or not can_drop(layers, here + 1))
    if stuck or not constant.any() or not can_drop(layers, here):
        return
    values = constants(layer)
    if after.bound.layer.pads:
        constant &= values == 0
    which = rows_of(after.matrix, constant)
    if after.matrix.tied:
        added = np.where(which, after.weight.astype(np.float64) * values[after.matrix.reads], 0.0)[0]
        after = replace(after, weight=np.where(which, np.float32(0), after.weight))
    else:
        rows = which[:, 0]
        added = values[after.matrix.reads[rows, 0]] @ after.weight[rows].astype(np.float64)
    if added.any():
        after = replace(after, bias=(after.bias + added).astype(np.float32), folded=True)
    layers[here + 1] = after
    drop(layers, here, ~constant)


def constants(layer: Weighted) -> NDArray[np.float64]:
    """Return what each unit of a layer gives where no weight feeds it, ``[units]``."""
    bound = layer.bound
    pre = bound.layer.reference(
        np.zeros((1, *bound.given)), np.zeros(layer.weight.shape), layer.bias.astype(np.float64)
    )
    values: NDArray[np.float64] = activation_of(layer.activation).value(pre).reshape(-1, bound.units)[0]
    return values


def drop(layers: list[Weighted], here: int, kept: Mask) -> None:
    """Leave layer ``here`` only its ``kept`` units, bool ``[units]``, and the next one what reads them; in place.

    Where there are none, one stays that does nothing. Units of a tied layer go together with those below it, so those
    below are left alone until it is its turn.
    """
    if kept.all() or layers[here + 1].matrix.tied or not can_drop(layers, here):
        return
    empty = not kept.any()
    if empty:
        kept = np.arange(len(kept)) == 0
    count = int(kept.sum())
    layers[here + 1] = without_rows(layers[here + 1], kept, count)
    if empty:
        layers[here + 1] = replace(layers[here + 1], weight=np.zeros_like(layers[here + 1].weight))
    while True:
        layer = layers[here]
        below = np.zeros(layer.matrix.below, np.bool_)
        if layer.matrix.tied:
            below[layer.matrix.reads[0, columns_of(layer.matrix, kept)]] = True
        layers[here] = without_columns(layer, kept, count)
        if empty:
            layers[here] = emptied(layers[here])
        if not layer.matrix.tied:
            return
        here, kept = here - 1, below


def can_drop(layers: Sequence[Weighted], here: int) -> bool:
    """Return whether units of layer ``here`` can go: a tied layer on the inputs, which stay, keeps them."""
    while here >= 0 and layers[here].matrix.tied:
        here -= 1
    return here >= 0


def without_columns(layer: Weighted, kept: Mask, count: int) -> Weighted:
    """Return the layer with ``count`` ``kept`` units; a tied one is given as many."""
    columns, given = columns_of(layer.matrix, kept), layer.bound.given
    given = (*given[:-1], count) if layer.matrix.tied else given
    bound = BoundLayer(layer.bound.layer.resize(count), given)
    return replace(layer, bound=bound, weight=np.ascontiguousarray(layer.weight[:, columns]), bias=layer.bias[columns])


def without_rows(after: Weighted, kept: Mask, count: int) -> Weighted:
    """Return the layer given ``count`` ``kept`` units."""
    bound = BoundLayer(after.bound.layer, (*after.bound.given[:-1], count))
    rows = rows_of(after.matrix, kept)[:, 0]
    return replace(after, bound=bound, weight=np.ascontiguousarray(after.weight[rows]))


def emptied(layer: Weighted) -> Weighted:
    """Return the layer with every weight and bias 0."""
    return replace(layer, weight=np.zeros_like(layer.weight), bias=np.zeros_like(layer.bias))


def no_wider(layer: Weighted, after: Weighted) -> bool:
    """Return whether the two are one product with no more weights than they have that are not zero."""
    if not (layer.product and after.product and layer.activation == IDENTITY):
        return False
    theirs = np.count_nonzero(layer.weight) + np.count_nonzero(after.weight)
    return bool(len(layer.weight) * after.weight.shape[1] <= theirs)


def as_one(layer: Weighted, after: Weighted) -> Weighted:
    """Return (x V + a) W + b as x (V W) + (a W + b)."""
    weight = after.weight.astype(np.float64)
    one = dense(f"{layer.name}.{after.name}", len(layer.weight), weight.shape[1], after.activation)
    return Weighted(
        replace(one, given=layer.bound.given),
        (layer.weight @ weight).astype(np.float32),
        (layer.bias @ weight + after.bias).astype(np.float32),
        folded=True,
    )


def run(chain: Chain, rows: Floats, dtype: type[np.floating[Any]] = np.float64) -> NDArray[np.float64]:
    """Compute the chain's output on ``rows`` ``[N, *shape]`` in ``dtype``: a reference for rounded chains."""
    values = np.asarray(rows if chain.reads is None else rows[:, chain.reads], dtype)
    for layer in chain.layers:
        values = activation_of(layer.activation).value(layer.before(values, dtype))
    return values
