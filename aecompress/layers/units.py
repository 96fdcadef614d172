"""What the maps of a matrix say of its units, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.layers.base import Matrix

Mask = NDArray[np.bool_]


def fed(matrix: Matrix, weight: NDArray[Any]) -> Mask:
    """Return which units some weight feeds, bool ``[units]``; the others are constants.

    Args:
        weight: ``[fan_in, columns]``.
    """
    found = np.zeros(matrix.units, np.bool_)
    found[matrix.writes[weight.any(0)]] = True
    return found


def read(matrix: Matrix, weight: NDArray[Any]) -> Mask:
    """Return which units below some weight reads, bool ``[below]``.

    Args:
        weight: ``[fan_in, columns]``.
    """
    found = np.zeros(matrix.below + matrix.units + 1, np.bool_)
    found[np.broadcast_to(matrix.reads, weight.shape)[weight != 0]] = True
    return found[: matrix.below]


def columns_of(matrix: Matrix, units: Mask) -> Mask:
    """Return the columns that belong to ``units`` ``[units]``, bool ``[columns]``."""
    return units[matrix.writes]


def rows_of(matrix: Matrix, below: Mask, own: Mask | None = None, none: bool = True) -> Mask:
    """Return the weights that read the units ``below`` ``[below]``, bool ``[fan_in, 1]`` or ``[1, columns]``.

    Args:
        own: the units of the layer, ``[units]``, for weights that read these; None: ``none``.
        none: whether weights count that read no unit.
    """
    if not matrix.recurs:
        return below[matrix.reads]
    own = np.full(matrix.units, none) if own is None else own
    return np.concatenate([below, own, [none]])[matrix.reads]
