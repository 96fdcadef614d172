"""What values a rounded tensor may take: whole numbers on both sides of 0, or a codebook, times a scale per output."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats

VALUES = ("float32", "float16", "int8", "int6", "int5", "int4", "int3", "int2")
"""How values may be stored, the exact one first; from int6 on by codes of so many bits, into a codebook per tensor."""
MOST_ABOVE = 8
"""Root mean squares that the largest value of a vector may have for int8 to be enough."""
STEPS = {"int8": 127, "int7": 64}
"""Levels on each side of 0. int7 is for integer arithmetic: processors without VNNI add two products of a byte and a
weight in 16 bits, which 2 x 255 x 64 still fits."""
WHOLE_BITS = {f"whole{bits}": bits for bits in range(2, 7)}
"""Bits of a code of those that have a codebook of whole numbers, for integer arithmetic in few bytes."""
CODE_BITS = {name: int(name.removeprefix("int")) for name in VALUES[3:]}
"""Bits of a code of those that have a codebook."""
LLOYD_STEPS, QUANTILES = 60, 1024
UNITS = 512
"""Scales that are tried for a codebook of whole numbers."""
SHARED = 32
"""Non-zero weights per output below which a scale for each output costs more bytes than it saves error."""


class Grid(NamedTuple):
    """The values that a rounded tensor ``[in, out]`` may take: a scale times the levels.

    Any float32 levels, 2 to 256 of them, can be packed: whole numbers of eight bits as int8, others as codes of
    :attr:`bits` bits into a codebook.
    """

    scale: NDArray[np.float16]
    """``[out]``, or ``[1]`` where outputs have few weights each."""
    levels: Floats
    """Rising; whole numbers on both sides of 0 for int8 and int7, a codebook for int6 to int2."""

    @property
    def bits(self) -> int:
        """Return the bits of a code."""
        return max(1, (len(self.levels) - 1).bit_length())

    @property
    def whole(self) -> bool:
        """Return whether the levels are stored as they are, in int8."""
        fits = np.abs(self.levels).max() <= 127 and bool((self.levels == np.rint(self.levels)).all())
        return self.bits == 8 and fits

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the index of the nearest level of ``values`` ``[..., out]``."""
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        found: NDArray[np.int64] = np.searchsorted(middles, values / self.scale.astype(np.float32))
        return found

    def value(self, codes: NDArray[np.int64]) -> Floats:
        """Return what codes ``[..., out]`` stand for."""
        result: Floats = self.levels[codes] * self.scale.astype(np.float32)
        return result


def grid_of(tensor: Floats, values: str) -> Grid | None:
    """Return the levels for ``tensor`` ``[in, out]``; None where each value is rounded by itself."""
    if values not in (*STEPS, *CODE_BITS, *WHOLE_BITS) or tensor.ndim < 2:
        return None
    if values in WHOLE_BITS:
        return whole_grid(tensor, 1 << WHOLE_BITS[values])
    along = 0 if np.count_nonzero(tensor) >= SHARED * tensor.shape[1] else None
    if values in STEPS:
        most = STEPS[values]
        scale = up16(np.abs(tensor).max(axis=along).reshape(-1) / most)
        return Grid(scale, np.arange(-most, most + 1, dtype=np.float32))
    count = np.maximum(np.count_nonzero(tensor, axis=along), 1)
    scale = up16(np.sqrt(np.square(tensor, dtype=np.float64).sum(axis=along) / count).reshape(-1))
    scaled = tensor / scale.astype(np.float32)
    return Grid(scale, codebook_of(scaled[tensor != 0], 1 << CODE_BITS[values]))


def whole_grid(tensor: Floats, count: int) -> Grid:
    """Return so many levels that are whole numbers of int7, for ``tensor`` ``[in, out]``.

    Where no more values occur than that, as after training with rounding, these are the levels, and share a scale.
    """
    most, kept = STEPS["int7"], tensor[tensor != 0]
    few, times = np.unique(kept, return_counts=True)
    if not len(few):
        return Grid(np.ones(1, np.float16), np.zeros(1, np.float32))
    if len(few) <= count:
        unit = best_unit(few, times, np.abs(few).max() / most)
        return Grid(unit, np.unique(np.rint(few / unit.astype(np.float32))))
    shared = len(kept) < SHARED * tensor.shape[1]
    scale = up16(np.abs(tensor).max(axis=None if shared else 0).reshape(-1) / most)
    book = codebook_of((tensor / scale.astype(np.float32))[tensor != 0], count)
    return Grid(scale, np.unique(np.rint(book)))


def best_unit(values: Floats, times: NDArray[np.int64], least: float) -> NDArray[np.float16]:
    """Return the number ``[1]``, ``least`` or up to twice that, of which ``values`` are nearest to whole multiples.

    Args:
        times: how often each value occurs, by which its squared error counts.
    """
    units = np.unique(up16(least * np.linspace(1, 2, UNITS)))
    grown = units.astype(np.float32)[:, None]
    errors = (np.square(np.rint(values / grown) * grown - values) * times).sum(1)
    return units[[int(errors.argmin())]]


def up16(scale: NDArray[Any]) -> NDArray[np.float16]:
    """Return a positive float16 no smaller than ``scale``, so that the largest value stays on the grid."""
    rounded = np.clip(scale, 2.0**-14, 65000).astype(np.float16)
    result: NDArray[np.float16] = np.where(rounded < scale, np.nextafter(rounded, np.float16(np.inf)), rounded)
    return result


def codebook_of(flat: Floats, count: int) -> Floats:
    """Return so many rising values with a small squared error on ``flat``: Lloyd's method.

    It starts with levels as dense as the cube root of the density of values, which is the best for many levels (Panter
    and Dite 1951). They are float16 numbers, as they are stored.
    """
    if not len(flat):
        return np.arange(count, dtype=np.float32)
    ordered = np.sort(flat.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    quantiles = np.quantile(ordered, np.linspace(0, 1, min(len(ordered), QUANTILES) + 1))
    widths = np.diff(quantiles) ** (2 / 3)
    shares = np.cumsum(np.append(0, widths + 1e-6 * (widths.mean() or 1)))
    book = np.interp((np.arange(count) + 0.5) / count, shares / shares[-1], quantiles)
    for _ in range(LLOYD_STEPS):
        cuts = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
    return np.sort(book).astype(np.float16).astype(np.float32)


def vector_grid(tensor: Floats, values: str) -> Grid | None:
    """Return levels of int8 for a vector, where ``values`` are no finer; None where its largest value is an outlier.

    The error is then below 2 % of the vector's root mean square; on biases of MNIST it moves the loss by 0.05 %.
    """
    if values not in VALUES[2:] or tensor.ndim != 1 or not tensor.any():
        return None
    largest = np.abs(tensor).max()
    if largest > MOST_ABOVE * np.sqrt(np.square(tensor, dtype=np.float64).mean()):
        return None
    most = STEPS["int8"]
    return Grid(up16(largest.reshape(1) / most), np.arange(-most, most + 1, dtype=np.float32))
