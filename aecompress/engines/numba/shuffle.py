"""The order in which a pass takes its rows: random words, sorted by counting, a stretch of ranks at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines import workers
from aecompress.engines.numba.jit import compiled
from aecompress.engines.numba.layout import Ints

MOST_DIGITS = 12
"""Binary digits of the number of groups into which words are counted by size: counts stay in the nearest cache."""
MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = (np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
S27, S30, S31, ONE = (np.uint64(number) for number in (27, 30, 31, 1))
TOP = np.uint64(1 << 63)


@compiled
def sort_places(words, order):
    """Write into ``order`` the places of random ``words``, int64 ``[N]``, from the lowest word to the highest.

    Its highest bits say where among N a word belongs, to within a few places. Equal words stay as they lie.
    """
    many = words.shape[0]
    bits = 1
    while 1 << bits < many:
        bits += 1
    free, found = np.zeros((1 << bits) + 1, np.int64), np.empty(many, np.int64)
    shift, half = 64 - bits, 1 << (bits - 1)
    for i in range(many):
        free[(words[i] >> shift) + half + 1] += 1
    for group in range(1 << bits):
        free[group + 1] += free[group]
    for i in range(many):
        group = (words[i] >> shift) + half
        place = free[group]
        found[place], order[place] = words[i], i
        free[group] = place + 1
    for i in range(1, many):
        word, of, place = found[i], order[i], i
        while place > 0 and found[place - 1] > word:
            found[place], order[place] = found[place - 1], order[place - 1]
            place -= 1
        found[place], order[place] = word, of


@compiled
def word_of(key, place):
    """Return word ``place`` of a draw, as :func:`aecompress.rng.bits` draws it, as an unsigned number of its rank."""
    word = key + (np.uint64(place) + ONE) * GOLDEN
    word = (word ^ (word >> S30)) * FIRST
    word = (word ^ (word >> S27)) * SECOND
    return (word ^ (word >> S31)) ^ TOP


@compiled
def count_words(key, digits, size, counts):
    """Add to ``counts``, int64 ``[groups]``, how many of ``size`` words lie in each group of their highest digits."""
    shift = np.uint64(64 - digits)
    for place in range(size):
        counts[np.int64(word_of(key, place) >> shift)] += 1


@compiled
def sort_groups(key, digits, size, ends, groups, scratch):
    """Write the places of the words of some groups into ``scratch[2]``, from the lowest word to the highest.

    Args:
        ends: int64 ``[groups]``: the words up to the end of each group.
        groups: the first and the last of them.
        scratch: int64 ``[3, N]``, for as many words as lie in these groups.
    """
    words, places, order = scratch[0], scratch[1], scratch[2]
    shift, digit = np.uint64(64 - digits), np.uint64(digits)
    low, high = groups
    before = ends[low - 1] if low else 0
    free = np.empty(high - low + 1, np.int64)
    for group in range(low, high + 1):
        free[group - low] = (ends[group - 1] if group else 0) - before
    for place in range(size):
        word = word_of(key, place)
        group = np.int64(word >> shift)
        if low <= group <= high:
            at = free[group - low]
            words[at], places[at] = np.int64((word << digit) ^ TOP), place
            free[group - low] = at + 1
    start = 0
    for group in range(high - low + 1):  # each is small enough for a core's cache
        end = free[group]
        sort_places(words[start:end], order[start:end])
        for at in range(start, end):
            order[at] = places[start + order[at]]
        start = end


def warm_order() -> None:
    """Compile the loops, or load them from the cache of an earlier process."""
    Order(0, 0, torch.zeros(1, dtype=torch.int64), 1).part(0, 1)


class Order:
    """The order in which each cell takes the rows of a pass, that of all engines, of which a stretch is in memory."""

    def __init__(self, seed: int, generation: int, cells: Tensor, rows: int) -> None:
        """Count the words of each cell: one for each of ``rows`` rows, whose rank is its row's turn."""
        self.keys = [np.uint64(key & MASK) for key in rng.keys(seed, "batches", generation, cells, 0).tolist()]
        self.rows = rows
        self.digits = max(1, min(rows.bit_length() - 8, MOST_DIGITS))
        self.ends = workers.each(self._count, self.keys)

    def part(self, first: int, last: int) -> list[Ints]:
        """Return the rows that each cell takes from turn ``first`` up to turn ``last``: int64, ``[last - first]``."""

        def one(cell: int) -> Ints:
            ends = self.ends[cell]
            low, high = (int(np.searchsorted(ends, turn, side="right")) for turn in (first, max(first, last - 1)))
            high = min(high, len(ends) - 1)
            before = int(ends[low - 1]) if low else 0
            scratch = np.empty((3, int(ends[high]) - before), np.int64)
            sort_groups(self.keys[cell], self.digits, self.rows, ends, (low, high), scratch)
            return scratch[2, first - before : last - before].copy()

        return workers.each(one, range(len(self.keys)))

    def _count(self, key: np.uint64) -> Ints:
        counts = np.zeros(1 << self.digits, np.int64)
        count_words(key, self.digits, self.rows, counts)
        return counts.cumsum()
