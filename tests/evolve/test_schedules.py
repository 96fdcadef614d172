from __future__ import annotations

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from aecompress.errors import SpecError
from aecompress.evolve.schedules import Shape, cubic, rise, schedule, toward_target
from aecompress.registry import SCHEDULES as ROWS

SCHEDULES = [name for name, row in ROWS.items() if not row.rise]
BY_HAND = {
    # p = 0.5, F = 8, n = 3, at t = 0, 2, 4, 6, 8
    "fixed": [0.5, 0.5, 0.5, 0.5, 0.5],
    "increase": [0.0, 0.125, 0.25, 0.375, 0.5],
    "decrease": [1.0, 0.875, 0.75, 0.625, 0.5],
    "exponential": [0.0, 0.19673467, 0.31606028, 0.38843492, 0.43233236],
    "final_n": [0.0, 0.0, 0.0, 0.5, 0.5],
    "prune_after": [0.0, 0.0, 0.0, 0.0, 0.5],
    "population": [0.0, 0.04166667, 0.08333333, 0.125, 0.16666667],
}


def test_the_table_by_hand_covers_the_registry() -> None:
    assert set(BY_HAND) == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_by_hand(name: str) -> None:
    s = schedule(name, Shape(0.5, 8, 3))
    assert [s(t) for t in (0, 2, 4, 6, 8)] == pytest.approx(BY_HAND[name], abs=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_with_nothing_to_rise_over_a_schedule_is_p(name: str) -> None:
    assert schedule(name, Shape(0.3, 0, 3))(0) == 0.3


def test_the_named_constants_can_be_changed() -> None:
    assert schedule("exponential", Shape(1.0, 10, exponent=4.0))(5) == pytest.approx(1 - math.exp(-2))
    assert schedule("final_n", Shape(1.0, 10, delay=0.5))(5) == 1.0


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "prune_after"])
@hypothesis.given(generations=st.integers(1, 40), p=st.floats(0.01, 1.0))
@hypothesis.settings(deadline=None, max_examples=30)
def test_toward_a_target_is_the_running_sum_over_the_whole(name: str, generations: int, p: float) -> None:
    shape = Shape(p, generations)
    s = schedule(name, shape)
    total = sum(s(t) for t in range(generations))
    hypothesis.assume(total > 0)
    share = toward_target(name, shape, generations)
    assert share(0.0) == 0.0
    assert share(1.0) == pytest.approx(1.0)
    for t in range(generations):
        assert share((t + 1) / generations) == pytest.approx(sum(s(i) for i in range(t + 1)) / total, abs=1e-9)
        assert share((t + 0.5) / generations) <= share((t + 1) / generations) + 1e-12


def test_a_schedule_that_never_prunes_cannot_reach_a_target() -> None:
    with pytest.raises(SpecError, match="never prunes in 8 generations"):
        toward_target("prune_after", Shape(0.5, 8), 8)


def test_bad_numbers_and_names_are_refused() -> None:
    with pytest.raises(SpecError, match="must lie in"):
        Shape(1.5, 8)
    with pytest.raises(SpecError, match="cannot shape a schedule"):
        Shape(0.5, 8, exponent=0)
    with pytest.raises(SpecError, match="choose one of fixed, increase"):
        schedule("linear", Shape(0.5, 8))


def test_a_rise_is_built_from_its_window_and_a_schedule_is_none() -> None:
    assert [name for name in ROWS if rise(name)] == [name for name in ROWS if name not in SCHEDULES] == ["cubic"]
    assert rise("cubic") is cubic and rise("of a package") is None
    with pytest.raises(SpecError, match="choose one of fixed, increase"):
        schedule("cubic", Shape(0.5, 8))


def test_cubic_by_hand() -> None:
    share = cubic(0.25, 0.75)
    assert [share(x) for x in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.875, 1.0, 1.0]


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (0.0, 1.1)])
def test_cubic_refuses_an_impossible_window(start: float, end: float) -> None:
    with pytest.raises(SpecError, match="need 0 <= start < end <= 1"):
        cubic(start, end)
