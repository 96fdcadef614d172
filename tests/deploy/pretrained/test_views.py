"""Views: whatever moves values is a reshape and a permutation, a repetition, or a cut that a layer can make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.pretrained.views import (
    MOST_VALUES,
    ZERO,
    Link,
    Refused,
    View,
    behind,
    placed,
    realized,
    start,
    whole,
)

ROWS = np.arange(3 * 24).reshape(3, 2, 3, 4)
"""Values of rows, each another number."""


def applied(link: Link, rows: np.ndarray) -> np.ndarray:
    """Return what the moves of a chain make of rows."""
    for each in list(behind(link))[::-1]:
        step = each.item
        if not isinstance(step, Step):
            continue
        if step.op == "permute":
            rows = rows.transpose(0, *(axis + 1 for axis in step.numbers["axes"]))
        elif step.op == "repeat":
            rows = np.repeat(rows[:, None], step.numbers["times"], 1)
        elif step.op == "upsample":
            for axis, times in enumerate(step.numbers["factor"], 2):
                rows = np.repeat(rows, times, axis)
        else:
            rows = rows.reshape(each.shape)
    return rows


@settings(max_examples=60, deadline=None)
@given(st.permutations([1, 2, 3]), st.permutations([1, 2, 3]), st.booleans())
def test_moves_in_a_row_are_one_reshape_and_one_permutation(first: list[int], second: list[int], flat: bool) -> None:
    def move(values: np.ndarray) -> np.ndarray:
        values = values.transpose(0, *first).reshape(3, 1, *values.transpose(0, *first).shape[1:])
        values = values[:, 0].transpose(0, *second)
        return values.reshape(3, -1) if flat and second == [1, 2, 3] else values

    link = realized(start(ROWS.shape).moved(move), "m")
    assert np.array_equal(applied(link, ROWS), move(ROWS))
    assert len(list(behind(link))) <= 4


def test_values_that_are_repeated_are_upsampled_or_repeated_rows() -> None:
    def larger(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(values, 2, 2), 3, 3)

    link = realized(start(ROWS.shape).moved(larger), "m")
    assert link.op == "upsample" and np.array_equal(applied(link, ROWS), larger(ROWS))
    code = ROWS.reshape(3, 24)
    link = realized(start(code.shape).moved(lambda index: np.repeat(index[:, None], 5, 1)), "m")
    assert link.op == "repeat" and np.array_equal(applied(link, code), np.repeat(code[:, None], 5, 1))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.arange(72).reshape(3, 24)[::-1], "moves values as no layer does"),
        (np.arange(72).reshape(3, 24)[:, ::-1], "moves values as no layer does"),
        (np.arange(72).reshape(3, 24)[:, :5], "drops values"),
        (np.arange(72).reshape(3, 24)[:, [0, 0, *range(1, 24)]], "repeats or drops"),
        (np.full((3, 24), ZERO), "pads values where no convolution"),
    ],
)
def test_what_no_step_does_is_refused(index: np.ndarray, message: str) -> None:
    with pytest.raises(Refused, match=message):
        realized(View(start((3, 24)).link, index), "m")


def test_a_constant_is_placed_where_the_link_has_its_values() -> None:
    view = start((3, 2, 4)).moved(lambda index: index.transpose(0, 2, 1))
    _, row = placed(view, np.array([1.0, 2.0]), "c")
    assert row.tolist() == [[1.0], [2.0]]
    flat, row = placed(view, np.arange(8.0).reshape(4, 2), "c")
    assert flat.link.op == "flatten" and row.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    with pytest.raises(Refused, match="another constant in each row"):
        placed(view, np.arange(3.0).reshape(3, 1, 1), "c")


def test_more_values_than_are_read_are_refused() -> None:
    with pytest.raises(Refused, match="more than are read"):
        whole(Link(None, None, (2, MOST_VALUES)))
