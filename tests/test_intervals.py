"""What a reader gets for a time and for a ratio."""

from __future__ import annotations

import math

import pytest

from aecompress.intervals import BUSY, EQUAL, Ratio, mean, milliseconds_text


@pytest.mark.parametrize(
    ("low", "high", "verdict", "text"),
    [
        (1.14, 1.32, "faster", "1.14-1.32x"),
        (0.4, 0.5, "slower", "0.40-0.50x"),
        (0.9, 1.1, "same", "same"),
        (1.0, 1.2, "same", "same"),
        (0.5, 2.0, "busy", BUSY),
        (2.0, 3.5, "busy", BUSY),
        (1.0, math.inf, "busy", BUSY),
        (math.nan, math.nan, "busy", BUSY),
    ],
)
def test_a_ratio_is_decided_only_where_its_interval_is_narrow_and_does_not_hold_one(
    low: float, high: float, verdict: str, text: str
) -> None:
    found = Ratio(low=low, middle=(low + high) / 2, high=high)
    assert (found.verdict, found.text) == (verdict, text)


def test_a_file_is_as_fast_as_itself() -> None:
    assert EQUAL.verdict == "same"


def test_the_mean_is_geometric_end_by_end() -> None:
    found = mean([Ratio(low=0.5, middle=1.0, high=2.0), Ratio(low=2.0, middle=4.0, high=8.0)])
    assert found == Ratio(low=1.0, middle=2.0, high=4.0)
    assert mean([EQUAL]) == EQUAL


def test_milliseconds_are_a_range_where_the_machine_was_busy() -> None:
    assert milliseconds_text(0.0341, (0.0338, 0.035)) == "0.0341"
    assert milliseconds_text(0.0341, (0.03, 0.09)) == "0.0300-0.0900"
