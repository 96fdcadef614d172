"""Rows cut into train, validation and test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.data.base import Array, Shares, Splits


def split(rows: Array, shares: Shares, given: dict[str, Array | None], seed: int) -> Splits[Array]:
    """Cut ``rows`` ``[N, ...]`` into train, validation and test by ``shares``, at random by ``seed``.

    A part that is ``given`` takes no rows, and the other shares grow in proportion; where everything else is given, or
    has share 0, the rows stay in their order.
    """
    effective = [shares[0]] + [
        0.0 if given[name] is not None else share
        for name, share in zip(("validation", "test"), shares[1:], strict=True)
    ]
    cuts = np.round(np.cumsum(effective) / sum(effective) * len(rows)).astype(int)
    if cuts[0] == len(rows):
        return Splits(rows, rows[:0], rows[:0])
    return Splits(*(rows[index] for index in draw(len(rows), cuts, seed)))


def draw(count: int, cuts: NDArray[np.int64], seed: int) -> Splits[NDArray[np.int64]]:
    """Draw which of ``count`` rows belong to each split: ascending indices.

    Args:
        cuts: where train, validation and test end in a random order of the rows.
    """
    order = rng.host(seed, "split").permutation(count)
    train, validation, test, _ = np.split(order, cuts)
    return Splits(np.sort(train), np.sort(validation), np.sort(test))
