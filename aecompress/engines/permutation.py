"""A random order of many rows, of which only a stretch is ever in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from aecompress import rng

HELD = 1 << 23
"""Places of a stretch, over all passes."""
TOGETHER = 1 << 18
"""Words that are drawn at once."""
PLACE = torch.int64
MOST_GROUPS = 16
"""Binary digits of the number of groups into which words are counted by size."""


class Permutation:
    """The order that :func:`aecompress.rng.permutation` gives each of K passes over ``size`` rows, taken in parts.

    A row's place is the rank of its random word. Words are drawn anew for each stretch and those of its ranks are kept:
    a count of the words by their highest digits says between which values these lie.
    """

    def __init__(self, keys: Tensor, size: int) -> None:
        """Begin with nothing held.

        Args:
            keys: int64 ``[K]``, of :func:`aecompress.rng.keys`.
        """
        self.keys, self.size = keys, size
        self.digits = max(1, min(size.bit_length() - 8, MOST_GROUPS))
        self.held = max(1, HELD // keys.shape[0])
        self.first, self.places = 0, torch.empty((keys.shape[0], 0), dtype=PLACE)
        self.ends: Tensor | None = None

    def __getitem__(self, which: tuple[slice, slice]) -> Tensor:
        """Return columns of the order, int64 ``[K, last - first]``; those that follow are kept for the next call."""
        first, last, _ = which[1].indices(self.size)
        if not self.first <= first <= last <= self.first + self.places.shape[1]:
            self.first = first
            stop = min(max(last, first + self.held), self.size)
            self.places = torch.empty((len(self.keys), stop - first), dtype=PLACE)
            for each in range(len(self.keys)):
                self.places[each] = self._stretch(each, first, stop)
        return self.places[:, first - self.first : last - self.first].long()

    def _groups(self, words: Tensor) -> Tensor:
        return (words >> (64 - self.digits)) + (1 << (self.digits - 1))

    def _ends(self) -> Tensor:
        """Return how many words of each pass lie in each group or before it, ``[K, groups]``."""
        counts = torch.zeros((len(self.keys), 1 << self.digits), dtype=torch.int64)
        for start in range(0, self.size, TOGETHER):
            for each, words in enumerate(rng.words(self.keys, start, min(start + TOGETHER, self.size))):
                counts[each] += torch.bincount(self._groups(words), minlength=counts.shape[1])
        return counts.cumsum(1)

    def _stretch(self, each: int, first: int, last: int) -> Tensor:
        """Return the places of rank ``first`` up to ``last`` of one pass."""
        if self.ends is None:
            self.ends = self._ends()
        ends = self.ends[each]
        low, high = (int(torch.searchsorted(ends, rank, right=True)) for rank in (first, max(first, last - 1)))
        words, places = [], []
        for start in range(0, self.size, TOGETHER):
            drawn = rng.words(self.keys[each : each + 1], start, min(start + TOGETHER, self.size))[0]
            groups = self._groups(drawn)
            found = ((groups >= low) & (groups <= high)).nonzero()[:, 0]
            words.append(drawn[found])
            places.append((found + start).to(PLACE))
        order = torch.cat(words).argsort(stable=True)
        before = int(ends[low - 1]) if low else 0
        return torch.cat(places)[order[first - before : last - before]]
