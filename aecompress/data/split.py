"""Rows cut into train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.data.base import Array, Shares, Splits
from aecompress.data.chosen import Chosen
from aecompress.data.file_rows import FileRows


def split(
    rows: Array | FileRows, shares: Shares, given: Mapping[str, Array | FileRows | None], seed: int
) -> Splits[Chosen]:
    """Cut ``rows`` ``[N, D]`` into train, validation and test by ``shares``, at random by ``seed``.

    A part that is ``given`` takes no rows, and the other shares grow in proportion; where everything else is given, or
    has share 0, the rows stay in their order.
    """
    effective = [shares[0]] + [
        0.0 if given[name] is not None else share
        for name, share in zip(("validation", "test"), shares[1:], strict=True)
    ]
    cuts = np.round(np.cumsum(effective) / sum(effective) * len(rows)).astype(int)
    if cuts[0] == len(rows):
        return Splits(Chosen(rows), Chosen(rows[:0]), Chosen(rows[:0]))
    parts = draw(len(rows), cuts, seed)
    return Splits(*(Chosen(rows, parts, part) for part in range(3)))


def draw(count: int, cuts: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """Draw to which split each of ``count`` rows belongs: 0 train, 1 validation, 2 test.

    Args:
        cuts: where train, validation and test end in a random order of the rows.
    """
    order = rng.host(seed, "split").permutation(count)
    parts = np.empty(count, np.uint8)
    for part, rows in enumerate(np.split(order, cuts)):
        parts[rows] = part
    return parts
