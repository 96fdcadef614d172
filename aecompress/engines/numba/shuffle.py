"""The order in which a pass takes its rows: random words, sorted by counting."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from aecompress import rng
from aecompress.engines import workers
from aecompress.engines.numba.jit import compiled
from aecompress.engines.numba.layout import Ints


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


def shuffled(seed: int, generation: int, cells: Tensor, rows: int) -> Ints:
    """Return the order in which each cell takes the ``rows`` of a pass, int64 ``[P, rows]``: that of all engines."""
    words = rng.bits(seed, "batches", generation, cells, 0, (rows,)).numpy()
    order = np.empty_like(words)
    workers.each(lambda cell: sort_places(words[cell], order[cell]), range(len(words)))
    return order
