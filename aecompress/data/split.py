"""Rows cut into train, validation and test."""

from __future__ import annotations

import numpy as np

from aecompress import rng
from aecompress.data.sources import Array


def split(
    rows: Array, shares: tuple[float, float, float], given: dict[str, Array | None], seed: int
) -> tuple[Array, Array, Array]:
    """Cut ``rows`` into train, validation and test by ``shares``, at random by ``seed``.

    A part that is ``given`` takes no rows, and the other shares grow in proportion; where everything else is given, or
    has share 0, the rows stay in their order.
    """
    want = [shares[0]] + [
        0.0 if given[name] is not None else share
        for name, share in zip(("validation", "test"), shares[1:], strict=True)
    ]
    cuts = np.round(np.cumsum(want) / sum(want) * len(rows)).astype(int)
    if cuts[0] == len(rows):
        return rows, rows[:0], rows[:0]
    order = rng.host(seed, "split").permutation(len(rows))
    train, validation, test, _ = np.split(order, cuts)
    return rows[np.sort(train)], rows[np.sort(validation)], rows[np.sort(test)]
