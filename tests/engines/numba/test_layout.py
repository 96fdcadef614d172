"""A cell's row comes back from its buffer as it went in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aecompress.engines.numba.jit import LINE
from aecompress.engines.numba.layout import aligned, biases_of, layer_table, load_row, matrices_of, store_row


@pytest.mark.parametrize("widths", [(1, 1), (7, 3, 7), (17, 40, 2, 33), (100, 16, 100)])
def test_a_row_is_stored_as_it_was_loaded_and_padding_is_zero(widths: tuple[int, ...]) -> None:
    layers = list(itertools.pairwise(widths))
    table, floats = layer_table([(*layer, "relu") for layer in layers])
    row = np.random.default_rng(1).random(sum((i + 1) * o for i, o in layers)).astype(np.float32) + 1
    buffer, back = aligned(1, floats)[0], np.zeros_like(row)
    assert floats % LINE == 0 and buffer.ctypes.data % (4 * LINE) == 0
    load_row(table, row, buffer)
    store_row(table, buffer, back)
    assert np.array_equal(row, back) and np.count_nonzero(buffer) == len(row)
    place = 0
    for (i, o), matrix, bias in zip(layers, matrices_of(table, buffer), biases_of(table, buffer), strict=True):
        weights = row[place : place + i * o].reshape(i, o)
        assert np.array_equal(matrix[: min(i, o), : max(i, o)], weights.T if i > o else weights)
        assert np.array_equal(bias[0, :o], row[place + i * o : place + (i + 1) * o])
        place += (i + 1) * o
