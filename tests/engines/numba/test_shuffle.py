"""Sorting by counting gives the order of all engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress import rng
from aecompress.engines.numba.shuffle import Order, sort_places


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-3, 3), max_size=40))
def test_any_words_are_sorted_and_equal_ones_stay_as_they_lie(words: list[int]) -> None:
    order = np.full(len(words), -1)
    sort_places(np.array(words, np.int64), order)
    assert order.tolist() == sorted(range(len(words)), key=lambda place: words[place])


@pytest.mark.parametrize("size", [1, 2, 3, 64, 65, 1000, 5000])
def test_every_engine_takes_the_rows_in_the_same_order(size: int) -> None:
    cells = torch.tensor([4, 0, 7])
    order = np.stack(Order(1, 3, cells, size).part(0, size))
    right = rng.permutation(1, "batches", 3, cells, 0, size).numpy()
    assert np.array_equal(order, right)
    for first, last in ((0, size // 3), (size // 3, size), (size // 2, size // 2)):
        assert np.array_equal(np.stack(Order(1, 3, cells, size).part(first, last)), right[:, first:last])
