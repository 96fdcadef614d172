"""The split: disjoint, complete, of the requested sizes; in order, by groups, by files; of windows without a leak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress.data.base import Request, Shares
from aecompress.data.split import Assignment, Series, assign, splits_of
from aecompress.errors import DataError

NONE: tuple[str, ...] = ()


def split(rows: np.ndarray, shares: Shares, given_rows: tuple[str, ...], seed: int) -> list[np.ndarray]:
    """Return the rows of each split."""
    parts = splits_of(rows, assign(Series(count=len(rows)), Request(split=shares, seed=seed), set(given_rows)))
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
    parts = split(np.arange(100)[:, None], (0.48, 0.32, 0.12), given_parts, 0)
    assert [len(part) for part in parts] == sizes


def test_rows_stay_in_order_where_all_are_for_training() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5))
    train, validation, test = split(rows, (1, 0, 0), NONE, 0)
    assert np.array_equal(train, rows)
    assert (validation.shape, test.shape) == ((0, 5), (0, 5))


# ---------------------------------------------------------------- in order, by groups, by files


def parts_of(series: Series, split_by: str, shares: Shares = (0.8, 0.1, 0.1), **fields: object) -> Assignment:
    return assign(series, Request(source="s", split=shares, split_by=split_by, **fields))


def test_in_order_the_first_rows_train_and_the_last_ones_test() -> None:
    found = parts_of(Series(count=20), "order", (0.5, 0.25, 0.25))
    assert found.parts.tolist() == [0] * 10 + [1] * 5 + [2] * 5
    assert found.decisions == ("rows are split in order: 10 train, 5 validation, 5 test",)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=80), st.integers(0, 50))
@settings(deadline=None, max_examples=40)
def test_a_group_is_in_one_split_and_the_seed_draws_it(groups: list[int], seed: int) -> None:
    series = Series(count=len(groups), groups=np.array(groups))
    if len(set(groups)) < 3:
        with pytest.raises(
            DataError, match=rf"data\.split_by = 'group:g': has {len(set(groups))} groups for 3 splits; "
        ):
            parts_of(series, "group:g", seed=seed)
        return
    found = parts_of(series, "group:g", seed=seed)
    where: dict[int, set[int]] = {}
    for group, part in zip(groups, found.parts.tolist(), strict=True):
        where.setdefault(group, set()).add(part)
    assert all(len(parts) == 1 for parts in where.values())
    assert set(found.parts.tolist()) == {0, 1, 2}
    assert np.array_equal(found.parts, parts_of(series, "group:g", seed=seed).parts)


def test_groups_of_one_size_give_the_shares_and_others_come_near_them() -> None:
    even = parts_of(Series(count=200, groups=np.arange(200) % 20), "group:g", (0.5, 0.25, 0.25))
    assert np.bincount(even.parts).tolist() == [100, 50, 50]
    assert even.decisions == (
        "whole groups of g are split, drawn by the seed: 10 train, 5 validation, 5 test (50.0%, 25.0%, 25.0% of the "
        "rows)",
    )
    sizes = np.array([400, *range(5, 65)])
    uneven = parts_of(Series(count=int(sizes.sum()), groups=np.repeat(np.arange(61), sizes)), "group:g")
    assert np.abs(np.bincount(uneven.parts) / sizes.sum() - (0.8, 0.1, 0.1)).sum() < 0.02
    drawn = {tuple(parts_of(Series(count=90, groups=np.arange(90) // 3), "group:g", seed=s).parts) for s in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize(
    ("rows", "shares", "parts"),
    [
        ([80, 10, 10], (0.8, 0.1, 0.1), [0, 1, 2]),
        ([10, 10, 80], (0.8, 0.1, 0.1), [0, 1, 2]),
        ([30, 30, 20, 5, 5, 10], (0.8, 0.1, 0.1), [0, 0, 0, 1, 1, 2]),
        ([50, 50], (0.5, 0.0, 0.5), [0, 2]),
        ([50, 50], (0.9, 0.1, 0.0), [0, 1]),
        ([50, 50], (1.0, 0.0, 0.0), [0, 0]),
    ],
)
def test_whole_files_are_split_in_order(rows: list[int], shares: Shares, parts: list[int]) -> None:
    files = tuple((f"{place}.csv", count) for place, count in enumerate(rows))
    found = parts_of(Series(count=sum(rows), files=files), "file", shares)
    assert found.parts.tolist() == np.repeat(parts, rows).tolist()


def test_files_that_are_too_few_are_refused_and_many_are_named_shortly() -> None:
    with pytest.raises(DataError, match=r"data\.split_by = 'file': has 2 files for 3 splits; give more, or set the "):
        parts_of(Series(count=8, files=(("a", 4), ("b", 4))), "file")
    found = parts_of(Series(count=80, files=tuple((f"{k}.csv", 8) for k in range(10))), "file")
    assert found.decisions == (
        "whole files are split, in order: train 0.csv, 1.csv, 5 more, 7.csv; validation 8.csv; test 9.csv (80.0%, "
        "10.0%, 10.0% of the rows)",
    )


def test_a_split_that_gets_no_rows_is_named() -> None:
    assert parts_of(Series(count=4), "auto").decisions == ("test has no rows: there are 4 in all",)
    assert parts_of(Series(count=2), "auto").decisions == ("validation and test have no rows: there are 2 in all",)
    assert parts_of(Series(count=10), "auto").decisions == ()


@pytest.mark.parametrize("split_by", ["random", "order", "group:g"])
def test_anomalies_are_in_the_test_alone_and_shares_are_those_of_the_others(split_by: str) -> None:
    anomalies = np.arange(120) % 6 == 0
    series = Series(count=120, groups=np.arange(120) // 12, anomalies=anomalies)
    found = parts_of(series, split_by)
    assert (found.parts[anomalies] == 2).all()
    assert np.bincount(found.parts[~anomalies]).tolist() == [80, 10, 10]
    assert found.labels(anomalies).tolist() == anomalies[found.parts == 2].astype(int).tolist()
    assert "20 rows labelled as anomalies are in no training rows" in found.decisions
    request = Request(split_by=split_by)
    assert (assign(series, request, {"test"}).parts[anomalies] == 3).all()


def test_dropped_rows_are_in_no_split() -> None:
    dropped = np.arange(30) % 3 == 0
    found = parts_of(Series(count=30, dropped=dropped), "order", (0.5, 0.25, 0.25))
    assert np.array_equal(found.parts == 3, dropped)
    assert np.bincount(found.parts).tolist() == [10, 5, 5, 10]


def test_rows_that_are_not_in_the_order_of_time_are_reported() -> None:
    rising, falling, odd = np.arange(20.0), np.arange(20.0)[::-1], np.arange(20) % 2

    def reported(*times: tuple[str, np.ndarray], split_by: str = "order", window: int = 0, **fields: object) -> bool:
        found = parts_of(Series(count=20, times=times, **fields), split_by, (0.8, 0.0, 0.2), window=window)
        clause = next((one for one in found.decisions if one.startswith("rows are not in")), None)
        assert clause in (None, "rows are not in the order of day: row 1 is earlier than row 0; sort them")
        return clause is not None

    assert reported(("day", falling)) and reported(("day", falling), split_by="random", window=2)
    assert not reported(("day", rising)) and not reported(("day", falling), split_by="random")
    assert not reported(("day", falling), ("hour", rising)), "a column that rises is the time"
    apart = rising - 15 * odd
    assert reported(("day", apart))
    assert not reported(("day", apart), split_by="group:g", window=2, groups=odd), "each group has an order of its own"
    assert not reported(("day", np.where(rising % 7 == 3, np.nan, rising)))
    assert not reported(("day", np.where(rising == 4, -1, rising)), dropped=rising == 4)


# ---------------------------------------------------------------- windows


def windows_by_hand(series: Series, rows: np.ndarray, length: int, stride: int) -> list[list[int]]:
    """Return the rows of each window, by one loop over groups and files."""
    file_of = series.file_of if series.files else np.zeros(series.count, int)
    groups = series.groups if series.groups is not None else np.zeros(series.count, int)
    found = []
    for group, file in sorted(set(zip(groups.tolist(), file_of.tolist(), strict=True))):
        own = [row for row in range(series.count) if (groups[row], file_of[row]) == (group, file)]
        found += [own[first : first + length] for first in range(0, len(own) - length + 1, stride)]
    return [one for one in found if series.dropped is None or not series.dropped[one].any()]


def flag(draw: st.DrawFn, count: int) -> np.ndarray | None:
    share = draw(st.sampled_from([0, 0, 0.05]))
    return np.random.default_rng(draw(st.integers(0, 99))).random(count) < share if share else None


@st.composite
def long_series(draw: st.DrawFn) -> tuple[Series, int, int, str]:
    """Return a series with any of groups, files, anomalies and dropped rows; length, stride and the kind of split."""
    count = draw(st.integers(60, 160))
    split_by = draw(st.sampled_from(["order", "group:g", "file", "random"]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    groups = generator.integers(0, 4, count) if split_by == "group:g" or draw(st.booleans()) else None
    if groups is not None and draw(st.booleans()):
        groups = np.sort(groups)
    files = ()
    if split_by == "file" or draw(st.booleans()):
        files = (("a", count // 2), ("b", count // 4), ("c", count - count // 2 - count // 4))
    series = Series(count=count, groups=groups, files=files, anomalies=flag(draw, count), dropped=flag(draw, count))
    return series, draw(st.integers(2, 5)), draw(st.integers(1, 7)), split_by


@given(long_series())
@settings(deadline=None, max_examples=60)
def test_windows_are_those_of_a_plain_loop_and_share_no_row_between_splits(
    case: tuple[Series, int, int, str],
) -> None:
    series, length, stride, split_by = case
    rows = np.arange(series.count * 2.0).reshape(-1, 2)
    try:
        found = parts_of(series, split_by, (0.6, 0.2, 0.2), window=length, stride=stride)
    except DataError as fault:
        assert "no window" in str(fault) or "rows in order at most" in str(fault)
        return
    expected = windows_by_hand(series, rows, length, stride)
    splits = splits_of(rows, found)
    held = []
    for part, windows in enumerate(splits):
        made = np.concatenate([np.empty((0, 2 * length)), *windows.blocks()])
        assert made.shape == windows.shape
        places = (made.reshape(len(made), length, 2)[:, :, 0] / 2).astype(int)
        by_hand = np.array([one for one, own in zip(expected, found.parts, strict=True) if own == part], int)
        assert np.array_equal(places, by_hand.reshape(-1, length))
        held.append(set(places.ravel().tolist()))
        assert set(np.flatnonzero(windows.index.covered).tolist()) == held[-1]
    if split_by != "random":
        assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
    assert set(np.flatnonzero(found.training).tolist()) == held[0]
    if series.anomalies is not None:
        unusual = set(np.flatnonzero(series.anomalies).tolist())
        assert not (held[0] | held[1]) & unusual
        labels = [int(bool(unusual & set(one))) for one, own in zip(expected, found.parts, strict=True) if own == 2]
        assert found.labels(series.anomalies).tolist() == labels
    if split_by == "order" and series.anomalies is None and series.groups is None:
        assert max(held[0]) < min(held[1]) and max(held[1]) < min(held[2])


def test_windows_that_cross_a_cut_are_left_out_and_counted() -> None:
    found = parts_of(Series(count=100, where="s"), "auto", window=5, stride=2)
    assert np.bincount(found.parts).tolist() == [38, 3, 3, 4]
    assert found.decisions == (
        "windows of 5 rows, one every 2 rows, split in order: 38 train, 3 validation, 3 test; 4 with rows of several "
        "splits are left out",
    )


def test_windows_drawn_at_random_are_a_permutation_of_all_and_the_leak_is_reported() -> None:
    found = parts_of(Series(count=104), "random", window=5)
    assert np.bincount(found.parts).tolist() == [80, 10, 10]
    assert found.decisions[1].startswith("windows are split at random, so those of different splits share rows")
    apart = parts_of(Series(count=104), "random", window=5, stride=5)
    assert len(apart.decisions) == 1 and np.bincount(apart.parts).tolist() == [16, 2, 2]


@pytest.mark.parametrize(
    ("series", "fields", "message"),
    [
        (
            Series(count=9, where="s"),
            {"window": 10},
            r"data\.window = 10: s has 9 rows in order at most; choose a smaller",
        ),
        (
            Series(count=30, where="s", groups=np.arange(30) // 6),
            {"window": 7, "split_by": "group:g"},
            r"data\.window = 7: s has 6 rows in order at most; choose a smaller --window",
        ),
        (
            Series(count=60, where="s"),
            {"window": 7},
            r"data\.window = 7: no window of s is in validation alone, whose share is 0\.1; choose a smaller --window",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused(series: Series, fields: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parts_of(series, fields.pop("split_by", "auto"), **fields)
