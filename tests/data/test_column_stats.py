"""Numbers about columns: those of NumPy over all rows at once, whatever the blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aecompress.data import column_stats as stats

RNG = np.random.default_rng(27)


@pytest.fixture(params=[7, 64, 1 << 16], ids=["small blocks", "blocks", "one block"], autouse=True)
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "BLOCK", request.param)


def cells() -> np.ndarray:
    found = RNG.normal(size=(150, 5))
    found[RNG.random(found.shape) < 0.1] = np.nan
    found[3, 1], found[70, 1], found[:, 4] = np.inf, -np.inf, np.nan
    return found


def test_different_values_are_those_of_numpy_without_nan() -> None:
    values = np.round(cells().reshape(-1), 1)
    assert stats.ordered(values).tolist() == [each for each in np.unique(values).tolist() if not math.isnan(each)]
    assert stats.ordered(np.full(3, np.nan)).tolist() == []


def test_extents_are_those_of_the_finite_values() -> None:
    values = cells()
    found = stats.extent(values)
    for place in range(5):
        column = values[:, place]
        finite = column[np.isfinite(column)]
        assert found.missing[place] == np.isnan(column).sum() and found.infinite[place] == np.isinf(column).sum()
        assert np.array_equal(
            [found.low[place], found.high[place]],
            [finite.min(), finite.max()] if len(finite) else [np.nan, np.nan],
            equal_nan=True,
        )


RISING = {
    "equal": (np.arange(100.0), True, True),
    "rounded": (np.round(np.arange(100) / 30, 3), True, True),
    "with a gap": (np.delete(np.arange(101.0), 50), True, False),
    "repeats": (np.repeat(np.arange(50.0), 2), True, False),
    "one fall": (np.r_[np.arange(99.0), 97], False, False),
    "falls late": (np.r_[np.arange(90.0), 88, np.arange(91.0, 100)], False, False),
    "falls": (-np.arange(100.0), False, False),
    "constant": (np.ones(100), False, False),
    "missing": (np.r_[np.arange(50.0), np.nan, np.arange(51.0, 100)], False, False),
}


def test_columns_rise_in_equal_steps_or_not() -> None:
    table = np.column_stack([values for values, _, _ in RISING.values()])
    rises, equal = stats.rising(table)
    assert dict(zip(RISING, zip(rises.tolist(), equal.tolist(), strict=True), strict=True)) == {
        name: expected for name, (_, *wanted) in RISING.items() for expected in [tuple(wanted)]
    }
    assert stats.mostly_equal(table, 2) and not stats.mostly_equal(table, 3)


def test_distinct_values_are_counted_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "SAMPLE", 20)
    monkeypatch.setattr(stats, "DISTINCT", 30)
    table = np.column_stack([RNG.integers(0, top, 500).astype(float) for top in (1, 2, 29, 31, 400)])
    table[::7, 2] = np.nan
    found = stats.distinct(table, stats.spread_rows(500), np.arange(5))
    expected = [min(30, len(np.unique(column[~np.isnan(column)]))) for column in table.T]
    assert found.tolist() == expected


def test_outliers_lie_outside_the_outer_fences() -> None:
    values = np.column_stack([RNG.standard_t(2, 400), np.r_[np.zeros(300), np.ones(100)], np.full(400, np.nan)])
    lower, upper = stats.fences(values, np.arange(400), [(), (), ()])
    first, third = np.quantile(values[:, 0], [0.25, 0.75], method="nearest")
    assert lower[0] == pytest.approx(first - 3 * (third - first)) and upper[0] == pytest.approx(
        third + 3 * (third - first)
    )
    assert not np.isfinite(lower[1:]).any()
    outside = np.count_nonzero((values[:, 0] < lower[0]) | (values[:, 0] > upper[0]))
    assert outside > 0 and stats.outside(values, lower, upper).tolist() == [outside, 0, 0]


def test_normal_values_are_seldom_outliers_however_many_there_are() -> None:
    assert stats.fence(10) == stats.fence(4000) == 3 < stats.fence(10_000) < stats.fence(10**9) < 6
    quartile = 0.6744897501960817
    tail = math.erfc((quartile + stats.fence(10**6) * 2 * quartile) / math.sqrt(2))
    assert tail * 10**6 == pytest.approx(stats.FALSE_ALARM)


def test_a_sample_meets_no_period_twice() -> None:
    for period in (24, 60, 144, 1000):
        phases = np.bincount(stats.spread_rows(1_000_000) % period, minlength=period)
        assert phases.min() > 0 and phases.max() < 3 * stats.SAMPLE / period
    assert stats.spread_rows(50).tolist() == list(range(50))


def test_whole_and_different_values_are_recognised() -> None:
    table = np.column_stack([RNG.permutation(200), np.r_[np.arange(199), 5], RNG.normal(size=200)]).astype(float)
    assert [stats.whole(table, place) for place in range(3)] == [True, True, False]
    assert [stats.all_differ(table, place) for place in range(3)] == [True, False, True]
