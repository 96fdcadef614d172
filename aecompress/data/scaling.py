"""Scaling, fitted on training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aecompress.data.base import Array, Floats

BLOCK = 1 << 20
"""Values that are scaled at once."""


@dataclass(frozen=True)
class Scaling:
    """scaled = (raw - offset) / divisor; both are one number or one per input."""

    kind: str
    """none, bytes, minmax or standard."""
    offset: float | list[float]
    divisor: float | list[float]

    def apply(self, rows: Array) -> Floats:
        """Return scaled rows, float32, of raw ``rows`` ``[N, D]``."""
        if self.kind == "none":
            return np.ascontiguousarray(rows, dtype=np.float32)
        offset, divisor = (np.asarray(value, dtype=np.float64) for value in (self.offset, self.divisor))
        scaled = np.empty(rows.shape, np.float32)
        step = max(1, BLOCK // max(1, math.prod(rows.shape[1:])))
        for start in range(0, len(rows), step):  # float64 of all rows at once would take twice what the result does
            block = rows[start : start + step].astype(np.float64)
            scaled[start : start + step] = (block - offset) / divisor
        return scaled


UNSCALED = Scaling("none", 0.0, 1.0)


def fit_scaling(kind: str, train: Array) -> Scaling:
    """Fit a scaling on training rows ``[N, D]``.

    ``auto``: uint8 divided by 255 (0/1 bytes untouched), values in [0, 1] untouched, anything else ``minmax``. A column
    that does not vary is shifted to 0 and not stretched.
    """
    if kind == "auto":
        low, high = train.min(), train.max()
        if low >= 0 and high <= 1:
            kind = "none"
        elif train.dtype == np.uint8:
            return Scaling("bytes", 0.0, 255.0)
        else:
            kind = "minmax"
    if kind == "none":
        return UNSCALED
    values = train.astype(np.float64, copy=False)
    if kind == "minmax":
        offset = values.min(0)
        divisor = values.max(0) - offset
    else:
        offset, divisor = values.mean(0), values.std(0)
    # Rounding gives a constant column a tiny deviation, so constancy is read off the values themselves.
    constant = values.max(0) == values.min(0)
    offset = np.where(constant, values[0], offset)
    divisor = np.where(constant | (divisor == 0), 1, divisor)
    return Scaling(kind, offset.tolist(), divisor.tolist())
