"""Numbers about the columns of a table, block by block: no copy of the rows is ever made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
BLOCK = 1 << 16
"""Cells of a block: half a megabyte, which fits a core's cache."""
SAMPLE = 1 << 13
"""Rows from which quartiles are estimated: to about 0.5 % of the rows."""
DISTINCT = 1000
"""Different values are counted up to so many."""
FENCE = 3.0
"""Quartile distances from the quartiles to the outer fences (Tukey, Exploratory Data Analysis, 1977, section 2D)."""
FALSE_ALARM = 0.01
"""Normal values of a column that may be expected outside its fences, which move out with the number of rows for that
(Hoaglin and Iglewicz, Fine-tuning some resistant rules for outlier labeling, 1987)."""
UNEVEN = 0.02
"""Share of a step by which one step may differ from the others, as rounded times do: 0.033, 0.067, 0.1."""
SENTINELS = (
    *(-99.0, -999.0, -9999.0, -99999.0, -999.25, -999999.0, -32768.0),
    *(999.0, 9999.0, 99999.0, 999999.0, 32767.0, 65535.0, 2147483647.0, -2147483648.0),
    *(sign * size for sign in (1.0, -1.0) for size in (1e20, 1e30, 1e31, 1e36, 9.969209968386869e36, 3.4028235e38)),
    *(float(np.finfo(np.float64).max), float(np.finfo(np.float64).min), -1.0),
)
"""Values that stand for a missing one: of loggers, GIS, well logs (-999.25), climate models, netCDF, ends of types."""
HELD = sorted({*SENTINELS, *(float(np.float32(value)) for value in SENTINELS[:-3])})
"""The same, in double and in single precision."""
FEW = 5
"""Other values that a column has at least where a sentinel is looked for; -1 beside 0 and 1 is a value."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Counts and ranges of C columns, ``[C]`` each."""

    missing: Counts
    infinite: Counts
    low: Doubles
    """Smallest finite value; NaN where there is none."""
    high: Doubles


def row_blocks(cells: Doubles) -> Iterator[tuple[int, Doubles]]:
    """Return the rows ``[N, C]`` in blocks of about :data:`BLOCK` cells, each with the number of its first row."""
    step = max(1, BLOCK // max(1, cells.shape[1]))
    for start in range(0, len(cells), step):
        yield start, cells[start : start + step]


def extent(cells: Doubles) -> Extent:
    """Return how many cells of each column are missing or infinite, and the range of the others."""
    width = cells.shape[1]
    missing, infinite = np.zeros(width, np.int64), np.zeros(width, np.int64)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for _, block in row_blocks(cells):
        smallest, largest = block.min(0), block.max(0)  # NaN where a cell is missing
        odd = np.flatnonzero(~(np.isfinite(smallest) & np.isfinite(largest)))
        if len(odd):
            part = block[:, odd]
            absent, finite = np.isnan(part), np.isfinite(part)
            missing[odd] += absent.sum(0)
            infinite[odd] += (~(absent | finite)).sum(0)
            smallest[odd] = np.where(finite, part, np.inf).min(0)
            largest[odd] = np.where(finite, part, -np.inf).max(0)
        low, high = np.minimum(low, smallest), np.maximum(high, largest)
    some = low <= high
    return Extent(
        missing=missing, infinite=infinite, low=np.where(some, low, np.nan), high=np.where(some, high, np.nan)
    )


def rising(cells: Doubles) -> tuple[Flags, Flags]:
    """Return which columns never fall, and which of them rise in equal steps: ``[C]`` each.

    A column with a missing cell does neither. Most columns fall within the first block, and are not looked at again.
    """
    first, last = cells[0], cells[-1]
    with np.errstate(all="ignore"):
        step = (last - first) / max(1, len(cells) - 1)
    rises = np.isfinite(step) & (step > 0)
    equal = rises.copy()
    before = first
    for start, block in row_blocks(cells):
        left = np.flatnonzero(rises)
        if not len(left):
            break
        part = block[:, left]
        rises[left] = (np.diff(part, axis=0, prepend=before[None, left]) >= 0).all(0)
        line = first[left] + step[left] * np.arange(start, start + len(part))[:, None]
        slack = UNEVEN * step[left] + np.spacing(np.abs(last[left]))
        equal[left] &= (np.abs(part - line) <= slack).all(0)
        before = block[-1]
    return rises, rises & equal


def column_blocks(cells: Doubles, column: int) -> Iterator[Doubles]:
    """Return the cells of one column that are there, in blocks."""
    for start in range(0, len(cells), BLOCK):
        part = cells[start : start + BLOCK, column]
        yield part[~np.isnan(part)]


def whole(cells: Doubles, column: int) -> bool:
    """Return whether all cells of a column that are there are whole numbers."""
    return all(bool((np.floor(part) == part).all()) for part in column_blocks(cells, column))


def all_differ(cells: Doubles, column: int) -> bool:
    """Return whether no value of a column occurs twice."""
    values = np.sort(cells[:, column])
    return all(
        bool((values[start + 1 : start + BLOCK + 1] != values[start : start + BLOCK][: len(values) - start - 1]).all())
        for start in range(0, len(values), BLOCK)
    )


def mostly_equal(cells: Doubles, column: int) -> bool:
    """Return whether nine in ten steps of a column that never falls are the usual one, and the rest multiples of it."""
    steps = np.diff(cells[: BLOCK + 1, column])
    usual = float(np.median(steps))
    if not usual > 0:
        return False
    equal, total = 0, len(cells) - 1
    for start in range(0, total, BLOCK):
        ratio = np.diff(cells[start : start + BLOCK + 1, column]) / usual
        near = np.rint(ratio)
        if not ((np.abs(ratio - near) <= UNEVEN) & (near > 0)).all():
            return False
        equal += int(np.count_nonzero(near == 1))
    return equal >= 0.9 * total


def spread_rows(count: int) -> NDArray[np.int64]:
    """Return at most :data:`SAMPLE` rows of ``count``, in order, spread by the golden ratio: no period is met twice."""
    if count <= SAMPLE:
        return np.arange(count)
    places = (np.arange(SAMPLE) * ((5**0.5 - 1) / 2)) % 1.0 * count
    return np.unique(places.astype(np.int64))


def ordered(values: Doubles) -> Doubles:
    """Return the different values in order, without NaN; ``np.unique`` imports masked arrays, which takes 30 ms."""
    values = np.sort(values[~np.isnan(values)])
    different = np.ones(len(values), bool)
    different[1:] = values[1:] != values[:-1]
    return values[different]


def distinct(cells: Doubles, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Counts:
    """Return how many different values the columns have, at most :data:`DISTINCT`: of all rows where few are seen.

    Args:
        rows: a sample of the rows, which alone decides where it shows :data:`DISTINCT` of them.
        columns: of which values are counted.
    """
    counts = np.zeros(len(columns), np.int64)
    for place, column in enumerate(columns):
        values = ordered(cells[rows, column])
        if len(rows) < len(cells) and len(values) <= DISTINCT:
            for part in column_blocks(cells, int(column)):
                values = np.union1d(values, part)
                if len(values) > DISTINCT + 1:
                    break
        counts[place] = min(DISTINCT, int(np.count_nonzero(~np.isnan(values))))
    return counts


def fences(cells: Doubles, rows: NDArray[np.int64], without: list[tuple[float, ...]]) -> tuple[Doubles, Doubles]:
    """Return the outer fences of each column, ``[C]`` each: infinite where half of its values or more are one.

    Args:
        rows: a sample of the rows, from which the quartiles are.
        without: of each column, values that are left out as missing ones.
    """
    lower, upper = np.full(cells.shape[1], -np.inf), np.full(cells.shape[1], np.inf)
    group = max(1, BLOCK // max(1, len(rows)))
    for start in range(0, cells.shape[1], group):
        part = cells[rows, start : start + group].T.copy()
        for values, left_out in zip(part, without[start : start + group], strict=True):
            if left_out:
                values[np.isin(values, left_out)] = np.nan
        part[np.isinf(part)] = np.nan
        part.sort(axis=1)  # NaN last
        present = part.shape[1] - np.isnan(part).sum(1)
        last = np.maximum(present - 1, 0)
        low, high = (
            np.take_along_axis(part, np.rint(share * last).astype(np.int64)[:, None], 1)[:, 0] for share in (0.25, 0.75)
        )
        with np.errstate(over="ignore"):
            reach = fence(len(cells)) * (high - low)
        some = (reach > 0) & (present >= FEW)
        these = slice(start, start + part.shape[0])
        lower[these], upper[these] = np.where(some, low - reach, -np.inf), np.where(some, high + reach, np.inf)
    return lower, upper


def fence(count: int) -> float:
    """Return the quartile distances from the quartiles to the fences of ``count`` values."""
    normal = NormalDist()
    quartile = normal.inv_cdf(0.75)
    return max(FENCE, -(normal.inv_cdf(FALSE_ALARM / 2 / count) + quartile) / (2 * quartile))


def outside(cells: Doubles, lower: Doubles, upper: Doubles) -> Counts:
    """Return how many finite cells of each column lie outside its fences: ``[C]``."""
    count = np.zeros(cells.shape[1], np.int64)
    for _, block in row_blocks(cells):
        count += ((block < lower) | (block > upper)).sum(0)
    return count


def sentinels(cells: Doubles, column: int, rows: NDArray[np.int64]) -> dict[float, int]:
    """Return the values of a column that stand for a missing one, and how often each occurs.

    Such a value is one of :data:`SENTINELS` and :func:`is_apart` from all others.

    Args:
        rows: a sample of the rows, from which the reach of the others is.
    """
    sample = cells[rows, column]
    sample = np.sort(sample[np.isfinite(sample) & ~np.isin(sample, HELD)])
    if len(np.unique(sample)) < FEW:
        return {}
    last = len(sample) - 1
    reach = float(sample[round(0.99 * last)] - sample[round(0.01 * last)])
    found: dict[float, int] = {}
    smallest, largest = np.inf, -np.inf
    for part in column_blocks(cells, column):
        part = part[np.isfinite(part)]
        usual = np.isin(part, HELD)
        for value, count in zip(*np.unique(part[usual], return_counts=True), strict=True):
            found[float(value)] = found.get(float(value), 0) + int(count)
        others = part[~usual]
        if len(others):
            smallest, largest = min(smallest, float(others.min())), max(largest, float(others.max()))
    return {value: count for value, count in found.items() if is_apart(value, count, (smallest, largest), reach)}


def is_apart(value: float, count: int, others: tuple[float, float], reach: float) -> bool:
    """Return whether a value lies so far from all others that it is none of them.

    It is farther away than their middle 98 % reach; where it occurs once, twice as far. A positive one is also twice as
    far as all others reach, since instruments saturate at 9999; where it occurs once, ten times. One of -99 and below
    that occurs twice needs no distance where all others are at least 0; -1 occurs twice.

    Args:
        count: how often it occurs.
        others: the smallest and the largest of them.
        reach: of their middle 98 %.
    """
    smallest, largest = others
    if value > 0:
        return value - largest > (2 if count >= 2 else 10) * (largest - smallest)
    if count >= 2:
        return smallest - value > reach or (value <= -99 and smallest >= 0)
    return value != -1.0 and smallest - value > 2 * reach
