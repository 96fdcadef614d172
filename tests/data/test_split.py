"""The split: disjoint, complete, of the requested sizes, drawn by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress.data.base import Shares
from aecompress.data.split import split as chosen_of

NONE = {"validation": None, "test": None}


def split(rows: np.ndarray, shares: Shares, given_rows: dict, seed: int) -> list[np.ndarray]:
    """Return the rows of each split."""
    parts = chosen_of(rows, shares, given_rows, seed)
    found = [np.concatenate([rows[:0], *part.blocks()]) for part in parts]
    assert [part.shape for part in parts] == [part.shape for part in found]
    return found


rows_and_shares = st.tuples(
    st.integers(1, 60),
    st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)).map(
        lambda parts: tuple(part / sum(parts) for part in parts)
    ),
    st.integers(0, 1000),
)


@given(rows_and_shares)
@settings(deadline=None, max_examples=50)
def test_a_split_is_disjoint_complete_and_of_the_asked_size(case: tuple[int, tuple[float, ...], int]) -> None:
    count, shares, seed = case
    parts = split(np.arange(count)[:, None], shares, NONE, seed)
    assert sorted(np.concatenate(parts)[:, 0]) == list(range(count))
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share * count) <= 1 + 1e-9
        assert list(part[:, 0]) == sorted(part[:, 0])


def test_a_split_has_exactly_its_shares_where_they_come_out_even() -> None:
    parts = split(np.arange(200)[:, None], (0.8, 0.15, 0.05), NONE, 0)
    assert [len(part) for part in parts] == [160, 30, 10]


def test_the_seed_draws_the_split() -> None:
    first, again, other = (split(np.arange(100)[:, None], (0.5, 0.3, 0.2), NONE, seed) for seed in (1, 1, 2))
    for index in range(3):
        assert np.array_equal(first[index], again[index])
        assert not np.array_equal(first[index], other[index])


def test_a_split_is_drawn_at_random_over_the_whole_file() -> None:
    test = split(np.arange(1000)[:, None], (0.8, 0.1, 0.1), NONE, 0)[2]
    assert 400 < test.mean() < 600


@pytest.mark.parametrize(
    ("given_parts", "sizes"),
    [
        (("validation",), [80, 0, 20]),
        (("test",), [60, 40, 0]),
        (("validation", "test"), [100, 0, 0]),
    ],
)
def test_a_given_part_takes_no_rows_and_the_others_grow_in_proportion(
    given_parts: tuple[str, ...], sizes: list[int]
) -> None:
    given_rows = NONE | {name: np.zeros((3, 1)) for name in given_parts}
    parts = split(np.arange(100)[:, None], (0.48, 0.32, 0.12), given_rows, 0)
    assert [len(part) for part in parts] == sizes


def test_rows_stay_in_order_where_all_are_for_training() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5))
    train, validation, test = split(rows, (1, 0, 0), NONE, 0)
    assert np.array_equal(train, rows)
    assert (validation.shape, test.shape) == ((0, 5), (0, 5))
