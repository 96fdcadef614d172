"""The maps of a layer's matrix applied to stacked tensors: what every rule about units is written with.

Layers whose maps are the identity, as those of dense layers, go without an index.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aecompress.layers.base import BoundLayer, Index


def on(index: Index, like: Tensor) -> Tensor:
    """Return a map as a tensor on the device of ``like``."""
    return torch.from_numpy(index).to(like.device)


def by_columns(layer: BoundLayer, units: Tensor) -> Tensor:
    """Return values per unit ``[P, units]`` given to the columns of each, ``[P, columns]``."""
    return units if layer.matrix.plain_writes else units[:, on(layer.matrix.writes, units)]


def by_reads(layer: BoundLayer, below: Tensor, own: Tensor | None = None, none: float = 1) -> Tensor:
    """Return values per unit below ``[P, below]`` given to the weights that read it.

    Args:
        own: values per unit of the layer, ``[P, units]``, for weights that read these; None: ``none``.
        none: the value of weights that read no unit.

    Returns:
        ``[P, fan_in, 1]``, or ``[P, 1, columns]`` where the layer is tied, else ``[P, fan_in, columns]``.
    """
    if layer.matrix.plain_reads:
        return below[:, :, None]
    if layer.matrix.recurs:
        own = below.new_full((len(below), layer.units), none) if own is None else own
        below = torch.cat([below, own, below.new_full((len(below), 1), none)], 1)
    return below[:, on(layer.matrix.reads, below)]


def by_own(layer: BoundLayer, own: Tensor) -> Tensor:
    """Return what is True of units ``[P, units]`` for the weights that read them in their own layer, else True."""
    return by_reads(layer, own.new_ones((len(own), layer.matrix.below)), own)


def mean_of_units(values: Tensor) -> Tensor:
    """Return the mean of each unit's values on a row, ``[P, B, ..., units]`` -> ``[P, B, units]``."""
    return values if values.ndim == 3 else values.flatten(2, -2).mean(2)


def norm_of_units(values: Tensor) -> Tensor:
    """Return the root mean square of each unit over rows and its values, ``[P, B, ..., units]`` -> ``[P, units]``."""
    return values.square().flatten(1, -2).mean(1).sqrt_()


def any_of_unit(layer: BoundLayer, columns: Tensor) -> Tensor:
    """Return which units have a column that is True, bool ``[P, columns]`` -> ``[P, units]``."""
    if layer.matrix.plain_writes:
        return columns
    found = torch.zeros((len(columns), layer.units), dtype=torch.int32, device=columns.device)
    return found.index_add_(1, on(layer.matrix.writes, columns), columns.int()) > 0


def norm_in(layer: BoundLayer, weight: Tensor) -> Tensor:
    """Return the norm of each unit's incoming values in ``weight`` ``[P, fan_in, columns]``: ``[P, units]``."""
    if layer.matrix.plain_writes:
        norm: Tensor = weight.norm(dim=1)
        return norm
    squares = weight.square().sum(1)
    found = squares.new_zeros((len(squares), layer.units))
    return found.index_add_(1, on(layer.matrix.writes, weight), squares).sqrt_()


def norm_out(reader: BoundLayer, weight: Tensor) -> Tensor:
    """Return the norm of the values that read each unit, in ``weight`` ``[P, fan_in, columns]``: ``[P, below]``."""
    matrix = reader.matrix
    if matrix.plain_reads:
        norm: Tensor = weight.norm(dim=2)
        return norm
    return read_squares(reader, weight)[:, : matrix.below].sqrt_()


def norm_of_reads(layer: BoundLayer, weight: Tensor) -> Tensor:
    """Return the norm of the layer's own values that read each of its units, of ``weight``: ``[P, units]``."""
    below = layer.matrix.below
    return read_squares(layer, weight)[:, below : below + layer.units].sqrt_()


def read_squares(reader: BoundLayer, weight: Tensor) -> Tensor:
    """Return the sum of squares of the values that read each of below, own units and none: ``[P, below + units + 1]``.

    Args:
        weight: ``[P, fan_in, columns]``.
    """
    matrix, squares = reader.matrix, weight.square()
    for axis, size in ((1, matrix.reads.shape[0]), (2, matrix.reads.shape[1])):
        squares = squares.sum(axis, keepdim=True) if size == 1 else squares
    squares = squares.flatten(1)
    found = squares.new_zeros((len(squares), matrix.below + matrix.units + 1))
    return found.index_add_(1, on(matrix.reads.reshape(-1), weight), squares)
