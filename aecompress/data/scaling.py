"""Scaling, fitted on training rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Array, Floats
from aecompress.data.chosen import Blocks


@dataclass(frozen=True)
class Scaling:
    """scaled = (raw - offset) / divisor; both are one number or one per input."""

    kind: str
    """none, bytes, minmax or standard."""
    offset: float | list[float]
    divisor: float | list[float]

    @property
    def identity(self) -> bool:
        """Return whether scaled rows are the raw ones."""
        return not np.any(self.offset) and bool(np.all(np.equal(self.divisor, 1)))

    def repeated(self, times: int) -> Scaling:
        """Return the scaling of ``times`` rows in a row, as windows have them: that of each is the same."""
        offset, divisor = (
            value if not isinstance(value, list) else value[0] if len(value) == 1 else value * times
            for value in (self.offset, self.divisor)
        )
        return Scaling(self.kind, offset, divisor)

    def apply(self, rows: Blocks) -> Floats:
        """Return scaled rows, float32, of raw rows ``[N, D]``; of float64 values, a block at most is held."""
        if self.kind == "none" and rows.whole is not None:
            return np.ascontiguousarray(rows.whole, dtype=np.float32)
        scaled, done = np.empty(rows.shape, np.float32), 0
        for block in rows.blocks():
            self.write(block, scaled[done : done + len(block)])
            done += len(block)
        return scaled

    def write(self, raw: Array, into: Floats) -> None:
        """Write scaled rows ``[K, D]`` of ``raw`` ones into an array of their shape."""
        if self.kind == "none":
            into[:] = raw
            return
        offset, divisor = (np.asarray(value, dtype=np.float64) for value in (self.offset, self.divisor))
        into[:] = (raw.astype(np.float64) - offset) / divisor


UNSCALED = Scaling("none", 0.0, 1.0)
ABSENT = (-99.0, -999.0, -9999.0, -99999.0, -999.25, -999999.0, -1e20, -1e30)
"""Values of loggers and maps that stand for a missing one, where they are the smallest of an input."""
HALF = 128
"""Bytes of images reach it; those that do not, such as counts up to 16, would lie in a corner of [0, 1]."""


def fit_scaling(kind: str, train: Blocks) -> Scaling:
    """Fit a scaling on training rows ``[N, D]``.

    ``auto``: values in [0, 1] untouched, uint8 that reaches :data:`HALF` divided by 255, anything else ``minmax``. A
    column that does not vary is shifted to 0 and not stretched.
    """
    if kind == "none":
        return UNSCALED
    low, high = (floats(along(extreme, train.blocks())) for extreme in (np.minimum, np.maximum))
    if kind == "auto":
        if low.min() >= 0 and high.max() <= 1:
            return UNSCALED
        if train.dtype == np.uint8 and high.max() >= HALF:
            return Scaling("bytes", 0.0, 255.0)
        kind = "minmax"
    offset, divisor = (low, high - low) if kind == "minmax" else mean_and_deviation(train)
    # Rounding gives a constant column a tiny deviation, so constancy is read off the values themselves.
    constant = high == low
    offset = np.where(constant, low, offset)
    divisor = np.where(constant | (divisor == 0), 1, divisor)
    return Scaling(kind, offset.tolist(), divisor.tolist())


def scaling_decisions(requested: str, scaling: Scaling, dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return what scaling does that a person may not expect, as clauses: small bytes are not divided by 255."""
    if requested == "auto" and scaling.kind == "minmax" and dtype == np.uint8:
        return (f"bytes below {HALF} are scaled by the range of each input, not divided by 255",)
    return ()


def sentinel_notes(scaling: Scaling) -> tuple[str, ...]:
    """Return which inputs of an array end at a value that usually stands for a missing one, as a clause."""
    if scaling.kind != "minmax":
        return ()
    low = np.atleast_1d(scaling.offset)
    found = np.isin(low.astype(np.float32), np.asarray(ABSENT, np.float32))
    if not found.any():
        return ()
    places, value = np.flatnonzero(found).tolist(), float(low[found][0])
    columns = f"column {places[0]}" if len(places) == 1 else f"{len(places)} columns, such as column {places[0]}"
    return (
        f"the smallest value of {columns} is {value:g}, which usually means a missing one and is kept as a number; "
        "--missing drop, median or mean treats it as missing",
    )


def mean_and_deviation(train: Blocks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each column of rows ``[N, D]``: ``[D]`` each."""
    if train.shape[1] == 1:  # NumPy sums a single column in pairs, which blocks would not repeat to the last bit
        values = np.concatenate([floats(block) for block in train.blocks()])
        return values.mean(0), values.std(0)
    mean = floats(along(np.add, map(floats, train.blocks()))) / len(train)
    squares = ((floats(block) - mean) ** 2 for block in train.blocks())
    return mean, np.sqrt(floats(along(np.add, squares)) / len(train))


def floats(values: Array) -> NDArray[np.float64]:
    """Return values as float64."""
    return values.astype(np.float64, copy=False)


def along(ufunc: np.ufunc, blocks: Iterable[Array]) -> Array:
    """Return what ``ufunc.reduce`` gives over all rows of ``blocks``, to the last bit: row by row, ``[D]``."""
    total: Array | None = None
    for block in blocks:
        total = ufunc.reduce(block if total is None else np.concatenate([total[None], block]), axis=0)
    assert total is not None
    return total
