"""Levels of rounded tensors: how near they are, and how many bits tell one from another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.vq import vq

from aecompress.deploy import grid
from tests.deploy.models import sparse

NORMAL = {"int2": 0.1175, "int3": 0.03454, "int4": 0.009497, "int5": 0.002499, "int6": 0.000644}
"""The least mean squared error of so many levels on a normal distribution (Max 1960)."""


@pytest.mark.parametrize("values", NORMAL)
def test_a_codebook_is_a_fixed_point_of_lloyds_method(values: str) -> None:
    drawn = np.random.default_rng(0).normal(size=(20000, 1)).astype(np.float32)
    levels = grid.grid_of(drawn, values)
    assert levels is not None and levels.bits == int(values[-1]) and not levels.whole
    assert levels.scale.astype(float) == pytest.approx([1], rel=0.03)
    assert np.array_equal(levels.levels, levels.levels.astype(np.float16))
    codes, _ = vq(drawn / levels.scale, levels.levels[:, None])
    assert np.array_equal(levels.codes(drawn)[:, 0], codes)
    found = levels.value(levels.codes(drawn))
    assert float(np.square(found - drawn).mean()) == pytest.approx(NORMAL[values], rel=0.15)


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_rounding_to_whole_numbers_stays_within_half_a_step(density: float) -> None:
    weight = sparse((100, 80), density)
    levels = grid.grid_of(weight, "int8")
    assert levels is not None and levels.whole and levels.bits == 8
    steps = np.abs(weight).max(0) / 127
    assert levels.scale.shape == ((80,) if density * 100 >= grid.SHARED else (1,))
    error = np.abs(levels.value(levels.codes(weight)) - weight)
    assert (error <= (steps if len(levels.scale) > 1 else steps.max()) * 0.5005).all()
    assert not error[weight == 0].any()


@pytest.mark.parametrize(
    ("levels", "bits", "whole"),
    [
        ([0, 1], 1, False),
        ([-1, 0, 1], 2, False),
        (range(-7, 8), 4, False),
        (range(-64, 65), 8, True),
        (np.arange(256) / 16, 8, False),
        (range(256), 8, False),
    ],
)
def test_bits_follow_from_the_number_of_levels(levels: object, bits: int, whole: bool) -> None:
    found = grid.Grid(np.ones(1, np.float16), np.array(levels, np.float32))
    assert (found.bits, found.whole) == (bits, whole)


@pytest.mark.parametrize("values", ["float32", "float16", "int8", "int4"])
def test_vectors_and_floats_have_no_grid(values: str) -> None:
    assert grid.grid_of(np.ones(5, np.float32), values) is None
    assert (grid.grid_of(np.ones((5, 5), np.float32), values) is None) == values.startswith("float")


@pytest.mark.parametrize("values", grid.WHOLE_BITS)
def test_levels_for_integer_arithmetic_are_whole_numbers_that_do_not_saturate(values: str) -> None:
    weight = sparse((100, 80), 1.0)
    levels = grid.grid_of(weight, values)
    assert levels is not None and levels.bits <= int(values[-1]) and len(levels.scale) == 80
    assert np.array_equal(levels.levels, np.unique(np.rint(levels.levels)))
    assert 2 * 255 * np.abs(levels.levels).max() <= 2**15
    errors = [
        float(np.square(one.value(one.codes(weight)) - weight).mean()) for one in (levels, best_of(weight, values))
    ]
    assert errors[0] < 1.5 * errors[1]


def best_of(weight: np.ndarray, values: str) -> grid.Grid:
    """A codebook of as many levels, whole numbers or not."""
    found = grid.grid_of(weight, values.replace("whole", "int"))
    assert found is not None
    return found


def test_few_values_are_levels_of_a_shared_scale_and_stay_apart() -> None:
    book = np.array([-1.5, -0.5, 0.25, 0.75, 1.25], np.float32)
    weight = np.random.default_rng(0).choice(np.append(book, 0), (60, 50)).astype(np.float32)
    levels = grid.grid_of(weight, "whole4")
    assert levels is not None and levels.scale.shape == (1,) and len(levels.levels) == 5
    found = levels.value(levels.codes(weight))
    assert np.abs(found - weight)[weight != 0].max() < 1e-3, "a quarter is a whole number of the best scale"
    empty = grid.grid_of(np.zeros((4, 3), np.float32), "whole4")
    assert empty is not None and np.array_equal(empty.levels, [0])
