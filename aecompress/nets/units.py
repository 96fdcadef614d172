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


def by_reads(layer: BoundLayer, below: Tensor) -> Tensor:
    """Return values per unit below ``[P, below]`` given to the weights that read it.

    Either ``[P, fan_in, 1]``, or ``[P, 1, columns]`` where the layer is tied.
    """
    return below[:, :, None] if layer.matrix.plain_reads else below[:, on(layer.matrix.reads, below)]


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
    squares = weight.square()
    squares = squares[:, 0] if matrix.tied else squares.sum(2)
    found = squares.new_zeros((len(squares), matrix.below))
    return found.index_add_(1, on(matrix.reads.reshape(-1), weight), squares).sqrt_()
