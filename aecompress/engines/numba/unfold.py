"""Convolutions as matrix products: which value each weight meets at each place, and loops that lay them side by side.

A convolution reads *patches*: at each place of its output, the values under its kernel. Laid side by side they are rows
of a matrix, ``[places, taps x units]``, whose product with the weights is the output; its gradient is laid back by
adding up, at each place, all patches that hold it. A transposed convolution is the same two steps in the other order.
All values of a row have their units last, so that a patch is a few long runs of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.engines.numba.jit import compiled
from aecompress.engines.numba.layout import Ints

Places = NDArray[np.uint64]
"""Unsigned: an index that may be negative costs a comparison each time, and keeps the compiler from whole vectors."""

BLOCK = np.uint64(16)
"""Values of the inner loops: a number that the compiler knows, so that it needs no loop for what is left over."""
NONE, TWO = np.uint64(0), np.uint64(2)
OUTSIDE = np.uint64(1 << 62)
"""Where a run comes from that lies beside the image: zeros."""
NARROW = 8
"""Units below which values are moved one by one, by their places, not in runs."""


class Axis(NamedTuple):
    """A convolution along one axis of its places."""

    size: int
    """Places of the side whose patches are taken."""
    places: int
    """Patches."""
    kernel: int
    stride: int
    padding: int
    dilation: int


class Patches(NamedTuple):
    """The tables of one layer's patches, for rows of values and ``[places, taps x units]`` of patches."""

    runs: Places
    """``[n, 3]``: where values go to, where they come from or :data:`OUTSIDE`, and how many follow each other."""
    places: Places
    """``[m]``, of narrow layers: where each value comes from, a place beyond the row where it is 0."""
    starts: Places
    """``[places + 1]``: which of ``parts`` add up to each place."""
    parts: Places
    """Where in the patches they begin."""
    passes: Places
    """``[k, 2]``, of narrow layers: a value of the row, and one of the patches to add to it; no value twice in a row of
    them that has one length."""
    ends: Places
    """Where each pass over the row ends."""
    units: int


def taps_of(axes: Sequence[Axis]) -> Ints:
    """Return the place that each tap of each patch reads, ``[patches, taps]``; -1 beside the image."""
    found = np.zeros((1, 1), np.int64)
    for size, places, kernel, stride, padding, dilation in axes:
        at = np.arange(places)[:, None] * stride - padding + np.arange(kernel) * dilation
        at = np.where((at >= 0) & (at < size), at, -1)
        both = found[:, None, :, None] * size + at[None, :, None, :]
        inside = (found >= 0)[:, None, :, None] & (at >= 0)[None, :, None, :]
        found = np.where(inside, both, -1).reshape(len(found) * places, -1)
    return found


def patches_of(axes: Sequence[Axis], units: int) -> Patches:
    """Return the tables of patches of ``units`` values at each place."""
    taps = taps_of(axes).reshape(-1)
    whole = int(np.prod([axis.size for axis in axes]))
    order = np.argsort(taps, kind="stable")
    order = order[np.searchsorted(taps[order], 0) :]  # without those beside the image
    starts = np.searchsorted(taps[order], np.arange(whole + 1))
    none = np.zeros((0, 2), np.uint64)
    narrow = units < NARROW
    passes, ends = passes_of(starts, order, units) if narrow else (none, none[:, 0])
    reach = np.where(taps < 0, whole, taps)[:, None] * units + np.arange(units) * (taps >= 0)[:, None]
    return Patches(
        runs=runs_of(taps, units),
        places=reach.reshape(-1).astype(np.uint64) if narrow else none[:, 0],
        starts=starts.astype(np.uint64),
        parts=(order * units).astype(np.uint64),
        passes=passes,
        ends=ends,
        units=units,
    )


def runs_of(taps: Ints, units: int) -> Places:
    """Return :attr:`Patches.runs` of taps ``[n]``."""
    outside = taps < 0
    follows = np.where(outside[1:], outside[:-1], ~outside[:-1] & (np.diff(taps) == 1))
    first = np.flatnonzero(np.concatenate([[True], ~follows]))
    length = np.diff(np.append(first, len(taps)))
    source = np.where(outside[first], int(OUTSIDE), taps[first] * units)
    return np.stack([first * units, source, length * units], 1).astype(np.uint64)


def passes_of(starts: Ints, order: Ints, units: int) -> tuple[Places, Places]:
    """Return :attr:`Patches.passes` and :attr:`Patches.ends`."""
    counts, found = np.diff(starts), []
    for turn in range(int(counts.max(initial=0))):
        places = np.flatnonzero(counts > turn)
        both = np.stack([places, order[starts[places] + turn]], 1)[:, None, :] * units
        found.append((both + np.arange(units)[:, None]).reshape(-1, 2))
    ends = np.cumsum([len(one) for one in found])
    return np.concatenate(found).astype(np.uint64), ends.astype(np.uint64)


@compiled
def copy_runs(rows, patches, runs):
    """Lay ``patches`` ``[B, p]`` from ``rows`` ``[B, v]``."""
    for b in range(rows.shape[0]):
        row, line = rows[b], patches[b]
        for at in range(runs.shape[0]):
            to, source, many = runs[at, 0], runs[at, 1], runs[at, 2]
            target = line[to : to + many]
            if source == OUTSIDE:
                for c in range(many):
                    target[c] = np.float32(0)
            else:
                values = row[source : source + many]
                for c in range(many):
                    target[c] = values[c]


@compiled
def copy_places(rows, patches, places, spare):
    """Lay ``patches`` ``[B, p]`` from ``rows`` ``[B, v]``, value by value.

    Args:
        spare: ``[v + 1]``, scratch memory.
    """
    width = rows.shape[1]
    spare[width] = np.float32(0)
    for b in range(rows.shape[0]):
        row, line = rows[b], patches[b]
        for c in range(width):
            spare[c] = row[c]
        for c in range(line.shape[0]):
            line[c] = spare[places[c]]


@compiled
def add_parts(patches, rows, starts, parts, units):
    """Add up in ``rows`` ``[B, v]`` what ``patches`` ``[B, p]`` hold of each place."""
    whole = units // BLOCK * BLOCK
    for b in range(rows.shape[0]):
        line, row, to = patches[b], rows[b], NONE
        for place in range(starts.shape[0] - 1):
            first, last = starts[place], starts[place + 1]
            if (last - first) % TWO:
                p = parts[first]
                for c in range(NONE, whole, BLOCK):
                    for i in range(BLOCK):
                        row[to + c + i] = line[p + c + i]
                for c in range(whole, units):
                    row[to + c] = line[p + c]
                first += np.uint64(1)
            elif last > first:
                p, q = parts[first], parts[first + np.uint64(1)]
                for c in range(NONE, whole, BLOCK):
                    for i in range(BLOCK):
                        row[to + c + i] = line[p + c + i] + line[q + c + i]
                for c in range(whole, units):
                    row[to + c] = line[p + c] + line[q + c]
                first += TWO
            else:
                for c in range(units):
                    row[to + c] = np.float32(0)
            for at in range(first, last, TWO):
                p, q = parts[at], parts[at + np.uint64(1)]
                for c in range(NONE, whole, BLOCK):
                    for i in range(BLOCK):
                        row[to + c + i] += line[p + c + i] + line[q + c + i]
                for c in range(whole, units):
                    row[to + c] += line[p + c] + line[q + c]
            to += units


@compiled
def add_places(patches, rows, passes, ends):
    """Add up in ``rows`` ``[B, v]`` what ``patches`` ``[B, p]`` hold of each place, value by value."""
    for b in range(rows.shape[0]):
        line, row, first = patches[b], rows[b], NONE
        for c in range(row.shape[0]):
            row[c] = np.float32(0)
        for turn in range(ends.shape[0]):
            for at in range(first, ends[turn]):
                row[passes[at, 0]] += line[passes[at, 1]]
            first = ends[turn]


def unfold(tables: Patches, rows: NDArray[np.float32], patches: NDArray[np.float32]) -> None:
    """Lay ``patches`` ``[B, places x taps x units]``, in place, from ``rows`` ``[B, places x units]``."""
    if tables.units < NARROW:
        copy_places(rows, patches, tables.places, np.empty(rows.shape[1] + 1, np.float32))
    else:
        copy_runs(rows, patches, tables.runs)


def fold(tables: Patches, patches: NDArray[np.float32], rows: NDArray[np.float32]) -> None:
    """Add up ``patches`` in ``rows``, in place, of the shapes of :func:`unfold`: its transpose."""
    if tables.units < NARROW:
        add_places(patches, rows, tables.passes, tables.ends)
    else:
        add_parts(patches, rows, tables.starts, tables.parts, np.uint64(tables.units))
