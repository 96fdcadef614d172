"""Exact compaction: the same function in a smaller chain (ALGORITHMS B6).

A unit without incoming weights is a constant, folded into the next layer's bias through its activation; a unit without
outgoing weights is dropped; inputs that no weight reads are skipped by one Gather where that pays. Two products with no
activation between them become one where that has no more weights, as a narrow joined chain has around a linear latent
code. Inputs and outputs of a chain keep their number, so an encoder keeps its latent size; inside the joined chain
latent units go like others. Layers without weights that leave units as they are, as pools, are looked past, so a
channel goes from a convolution, the pool behind it and the dense layer that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats
from aecompress.layers.activations import IDENTITY, activation_of
from aecompress.layers.base import BoundLayer, Matrix, Shape
from aecompress.layers.dense import Dense
from aecompress.layers.units import Mask, columns_of, fed, read, rows_of

GATHER_COST = 350
"""Multiply-adds of a product that take as long as gathering one value: 4.4 ns of an AVX-512 core, one thread."""

SAME = 1e-12
"""Share of its size by which a constant may differ from place to place, as float64 rounds it."""


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
        """Return weight and bias, as far as the layer has them, by the names they have in files."""
        bias = f"{self.name}.bias.folded" if self.folded else f"{self.name}.bias"
        found = {f"{self.name}.weight": self.weight, bias: self.bias}
        return {name: tensor for name, tensor in found.items() if tensor.size}

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
    smaller = swept(replace(chain, layers=tuple(map(with_one_bias, chain.layers))))
    while shapes(smaller) != shapes(chain):  # layers that became one may leave less between their neighbours
        chain, smaller = smaller, swept(smaller)
    return smaller


def with_one_bias(layer: Weighted) -> Weighted:
    """Return the layer with its second bias added to the first, where that is the same function."""
    columns = layer.matrix.second
    if not layer.weight[-1:, :columns].any():
        return layer
    weight, bias = layer.weight.copy(), layer.bias.copy()
    bias[:columns] += weight[-1, :columns]
    weight[-1, :columns] = 0
    return replace(layer, weight=weight, bias=bias, folded=True)


def shapes(chain: Chain) -> list[tuple[int, ...]]:
    """Return the shape of each layer's weight, ``(fan_in, columns)``."""
    return [layer.weight.shape for layer in chain.layers]


def swept(chain: Chain) -> Chain:
    """Fold constants, drop unread units, join products, skip unread inputs.

    One sweep forward and one backward find all units: dropping a constant takes only weights from the layer after it,
    dropping an unread unit only weights from the layer before it.
    """
    layers = list(chain.layers)
    weighted = [here for here, layer in enumerate(layers) if layer.bound.weighted]
    for here in weighted:
        fold_constants(layers, here)
    for here in reversed(weighted):
        drop_unread(layers, here)
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


def reader(layers: Sequence[Weighted], here: int) -> int | None:
    """Return which layer reads the units of layer ``here`` as they are: the next one with weights; None: none does."""
    for at in range(here + 1, len(layers)):
        if layers[at].bound.weighted:
            return at
        if not layers[at].matrix.passes:
            return None
    return None


def source(layers: Sequence[Weighted], here: int) -> int | None:
    """Return whose units layer ``here`` reads as they are; None: inputs, or units that were turned into others."""
    below = [at for at in range(here) if layers[at].bound.weighted]
    return below[-1] if below and reader(layers, below[-1]) == here else None


def read_inputs(first: Weighted) -> NDArray[np.int64] | None:
    """Return the inputs that the first layer reads, where taking them out by a Gather pays; else None."""
    if not first.product or len(first.bound.given) != 1:
        return None
    found = np.flatnonzero(first.weight.any(1))
    found = found if len(found) else np.zeros(1, np.int64)
    saved = (len(first.weight) - len(found)) * first.weight.shape[1]
    return found if saved > GATHER_COST * len(found) else None


def fold_constants(layers: list[Weighted], here: int) -> None:
    """Fold the units of layer ``here`` that nothing feeds into the bias of their reader, and drop them; in place."""
    layer, at = layers[here], reader(layers, here)
    if at is None or not can_drop(layers, here):
        return
    after = layers[at]
    # Units of a tied layer that keeps them all keep theirs below too, and their weights as trained.
    if after.matrix.tied and not (after.matrix.biases and can_drop(layers, at)):
        return
    constant, values = constants(layers, here)
    if after.bound.layer.pads or not after.matrix.biases:
        constant &= values == 0
    if layer.matrix.recurs:  # what it reads of itself is not changed by its activation
        constant &= zero_unfed(layer) | ~read_by_itself(layer, np.ones_like(constant))
    if layer.matrix.tied:
        constant = ~with_needed(layers, here, ~constant)
    if not constant.any():
        return
    which = rows_of(after.matrix, constant, none=False)
    if after.matrix.tied:
        added = np.where(which, after.weight.astype(np.float64) * values[after.matrix.reads], 0.0).sum(0)
        after = replace(after, weight=np.where(which, np.float32(0), after.weight))
    else:
        rows = which[:, 0]
        added = values[after.matrix.reads[rows, 0]] @ after.weight[rows].astype(np.float64)
    if added.any():
        after = replace(after, bias=(after.bias + added).astype(np.float32), folded=True)
    layers[at] = after
    drop(layers, here, ~constant)


def constants(layers: Sequence[Weighted], here: int) -> tuple[Mask, NDArray[np.float64]]:
    """Return which units of layer ``here`` are constants, and what their reader is given of each, both ``[units]``.

    Only those that are the same at all places count. What layers without weights make of them is computed.
    """
    constant, values = constant_values(layers, here)
    for layer in layers[here + 1 : reader(layers, here)]:
        values = value(layer, values)
    flat = values.reshape(-1, values.shape[-1])
    equal = np.ptp(flat, axis=0) <= SAME * np.abs(flat).max(axis=0)
    return constant & equal, flat[0]


def constant_values(layers: Sequence[Weighted], here: int) -> tuple[Mask, NDArray[np.float64]]:
    """Return which units of layer ``here`` no weight feeds, and what it gives where none does, ``[1, *gives]``.

    A tied layer without biases, as a slope for each unit, gives a constant where it is given one.
    """
    layer = layers[here]
    bound, matrix = layer.bound, layer.matrix
    if not matrix.tied or matrix.biases:
        bare = replace(layer, weight=np.zeros_like(layer.weight))
        return ~fed(matrix, layer.weight), value(bare, np.zeros((1, *bound.given)))
    below = source(layers, here)
    if below is None:
        return np.zeros(matrix.units, np.bool_), np.zeros((1, *bound.gives))
    constant, values = constant_values(layers, below)
    for one in layers[below + 1 : here]:
        values = value(one, values)
    return constant[matrix.reads[0]], value(layer, values)


def zero_unfed(layer: Weighted) -> Mask:
    """Return which units of a layer are 0 before its activation where no weight feeds them, bool ``[units]``."""
    bare = replace(layer, weight=np.zeros_like(layer.weight))
    moved: Mask = (bare.before(np.zeros((1, *layer.bound.given))).reshape(-1, layer.matrix.units) != 0).any(axis=0)
    return ~moved


def value(layer: Weighted, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a layer gives for ``values`` ``[N, *given]``."""
    found: NDArray[np.float64] = activation_of(layer.activation).value(layer.before(values))
    return found


def drop_unread(layers: list[Weighted], here: int) -> None:
    """Drop the units of layer ``here`` that no weight reads, in place."""
    at = reader(layers, here)
    if at is None:
        return
    found = with_needed(layers, here, read(layers[at].matrix, layers[at].weight))
    drop(layers, here, found)


def with_needed(layers: Sequence[Weighted], here: int, kept: Mask) -> Mask:
    """Return the ``kept`` units of layer ``here``, bool ``[units]``, with those that kept ones need of the same layer.

    Units of a tied layer are needed where those below them are.
    """
    layer, below = layers[here], source(layers, here)
    matrix, found = layer.matrix, kept.copy()
    if matrix.tied and below is not None:
        under = np.zeros(matrix.below, np.bool_)
        under[matrix.reads[0, columns_of(matrix, kept)]] = True
        found[matrix.writes[with_needed(layers, below, under)[matrix.reads[0]]]] = True
    while matrix.recurs:
        more = found | read_by_itself(layer, found)
        if (more == found).all():
            break
        found = more
    return found


def read_by_itself(layer: Weighted, units: Mask) -> Mask:
    """Return which units of a layer its own ``units`` read, both bool ``[units]``."""
    matrix = layer.matrix
    mine = layer.weight * columns_of(matrix, units)
    found = np.zeros(matrix.below + matrix.units + 1, np.bool_)
    found[np.broadcast_to(matrix.reads, mine.shape)[mine != 0]] = True
    return found[matrix.below : matrix.below + matrix.units]


def drop(layers: list[Weighted], here: int, kept: Mask) -> None:
    """Leave layer ``here`` only its ``kept`` units, bool ``[units]``, and their reader what reads them; in place.

    Where there are none, one stays that does nothing. Units of a tied layer go together with those below it, so those
    below are left alone until it is its turn.
    """
    at = reader(layers, here)
    if kept.all() or at is None or layers[at].matrix.tied or not can_drop(layers, here):
        return
    empty = not kept.any()
    if empty:
        kept = np.arange(len(kept)) == 0
        everything = rows_of(layers[at].matrix, np.ones_like(kept), none=False)
        layers[at] = replace(layers[at], weight=np.where(everything, np.float32(0), layers[at].weight))
    layers[at] = without_rows(layers[at], kept)
    tied: int | None = here
    while tied is not None:
        layer, below = layers[tied], source(layers, tied)
        mine, kept = kept, np.zeros(layer.matrix.below, np.bool_)
        if layer.matrix.tied:
            kept[layer.matrix.reads[0, columns_of(layer.matrix, mine)]] = True
        layers[tied] = without_columns(layer, mine)
        if empty:
            layers[tied] = emptied(layers[tied])
        tied = below if layer.matrix.tied else None
    rebind(layers)


def can_drop(layers: Sequence[Weighted], here: int) -> bool:
    """Return whether units of layer ``here`` can go: they stay where groups are made of them, and those of inputs."""
    at: int | None = here
    while at is not None:
        after = reader(layers, at)
        if after is None or layers[after].matrix.grouped or layers[at].matrix.grouped:
            return False
        if not layers[at].matrix.tied:
            return True
        at = source(layers, at)
    return False


def without_columns(layer: Weighted, kept: Mask) -> Weighted:
    """Return the layer with its ``kept`` units, not yet bound to what it is given then."""
    columns, weight = columns_of(layer.matrix, kept), layer.weight
    if layer.matrix.recurs:
        weight = weight[rows_of(layer.matrix, np.ones(layer.matrix.below, np.bool_), kept)[:, 0]]
    bound = BoundLayer(layer.bound.layer.resize(int(kept.sum())), layer.bound.given)
    bias = layer.bias[columns] if layer.matrix.biases else layer.bias
    return replace(layer, bound=bound, weight=np.ascontiguousarray(weight[:, columns]), bias=bias)


def without_rows(after: Weighted, kept: Mask) -> Weighted:
    """Return the layer without the weights that read other units below than the ``kept``, not yet bound to these."""
    return replace(after, weight=np.ascontiguousarray(after.weight[rows_of(after.matrix, kept)[:, 0]]))


def rebind(layers: list[Weighted]) -> None:
    """Bind each layer to what the one before it gives now, in place."""
    for at in range(1, len(layers)):
        given = layers[at - 1].bound.gives
        if given != layers[at].bound.given:
            layers[at] = replace(layers[at], bound=BoundLayer(layers[at].bound.layer, given))


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
    weight, last = after.weight.astype(np.float64), cast(Dense, after.bound.layer)
    return Weighted(
        BoundLayer(replace(last, name=f"{layer.name}.{after.name}"), layer.bound.given),
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
