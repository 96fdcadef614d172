"""Scaling: fitted values, every kind, undone by multiplying and adding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aecompress.data import chosen
from aecompress.data.chosen import Chosen
from aecompress.data.scaling import Scaling, fit_scaling, scaling_decisions


def random_rows(rows: int = 40, inputs: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, inputs))


def test_scaling_none_only_changes_the_number_format() -> None:
    rows = random_rows()
    scaling = fit_scaling("none", Chosen(rows))
    assert scaling == Scaling("none", 0.0, 1.0)
    assert np.array_equal(scaling.apply(Chosen(rows)), rows.astype(np.float32))


def test_scaling_minmax_brings_every_training_column_to_0_and_1() -> None:
    rows = random_rows() * [1, 10, 1e-6, 1e6, 3]
    scaled = fit_scaling("minmax", Chosen(rows)).apply(Chosen(rows))
    assert scaled.dtype == np.float32
    assert scaled.min(0).tolist() == [0] * 5
    assert scaled.max(0).tolist() == [1] * 5


def test_scaling_standard_brings_every_training_column_to_mean_0_and_deviation_1() -> None:
    rows = random_rows() * [1, 10, 1e-6, 1e6, 3] + 7
    scaled = fit_scaling("standard", Chosen(rows)).apply(Chosen(rows)).astype(float)
    assert np.abs(scaled.mean(0)).max() < 1e-6
    assert np.abs(scaled.std(0) - 1).max() < 1e-6


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.array([[0, 255], [51, 0]], np.uint8), Scaling("bytes", 0.0, 255.0)),
        (np.array([[0, 128]], np.uint8), Scaling("bytes", 0.0, 255.0)),
        (np.array([[0, 16], [8, 0]], np.uint8), Scaling("minmax", [0.0, 0.0], [8.0, 16.0])),
        (np.array([[0, 1], [1, 1]], np.uint8), Scaling("none", 0.0, 1.0)),
        (np.array([[False, True]]), Scaling("none", 0.0, 1.0)),
        (np.array([[0.0, 1.0]]), Scaling("none", 0.0, 1.0)),
        (np.array([[0.25, 0.5]], np.float16), Scaling("none", 0.0, 1.0)),
        (np.array([[0.0, 1.5], [1.0, 0.5]]), Scaling("minmax", [0.0, 0.5], [1.0, 1.0])),
        (np.array([[-1, 0], [1, 4]]), Scaling("minmax", [-1.0, 0.0], [2.0, 4.0])),
        (np.array([[0, 200], [100, 0]], np.uint16), Scaling("minmax", [0.0, 0.0], [100.0, 200.0])),
    ],
    ids=["bytes", "dark bytes", "counts", "0/1 bytes", "booleans", "unit", "half", "above 1", "negative", "16 bits"],
)
def test_scaling_auto_follows_the_values(rows: np.ndarray, expected: Scaling) -> None:
    assert fit_scaling("auto", Chosen(rows)) == expected


def test_bytes_are_divided_by_255() -> None:
    rows = np.arange(256, dtype=np.uint8).reshape(-1, 2)
    assert np.array_equal(fit_scaling("auto", Chosen(rows)).apply(Chosen(rows)), (rows / 255).astype(np.float32))


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6 + 0.1, 255])
@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_a_constant_column_is_shifted_to_0_and_not_stretched(kind: str, value: float, count: int) -> None:
    rows = np.stack([np.full(count, value), np.arange(count)], 1)
    scaling = fit_scaling(kind, Chosen(rows))
    assert scaling.apply(Chosen(rows))[:, 0] == pytest.approx(0, abs=1e-6)
    assert scaling.apply(Chosen(rows + 2))[:, 0] == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("shape", [(300, 1), (300, 2), (300, 7), (40, 2000)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_blocks_are_scaled_as_all_rows_at_once_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], dtype: str
) -> None:
    monkeypatch.setattr(chosen, "BLOCK", 100)
    rows = (random_rows(*shape) * 100 + 3).astype(dtype)
    values = rows.astype(np.float64)
    scaling = fit_scaling("standard", Chosen(rows))
    assert scaling.offset == values.mean(0).tolist() and scaling.divisor == values.std(0).tolist()
    assert np.array_equal(scaling.apply(Chosen(rows)), ((values - values.mean(0)) / values.std(0)).astype(np.float32))
    scaling = fit_scaling("minmax", Chosen(rows))
    assert scaling.offset == values.min(0).tolist() and scaling.divisor == np.ptp(values, axis=0).tolist()


ordinary = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("kind", ["auto", "none", "minmax", "standard"])
@given(rows=arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 4)), elements=ordinary))
@settings(deadline=None, max_examples=30)
def test_scaling_is_undone_by_multiplying_and_adding(kind: str, rows: np.ndarray) -> None:
    scaling = fit_scaling(kind, Chosen(rows))
    back = scaling.apply(Chosen(rows)) * np.asarray(scaling.divisor) + np.asarray(scaling.offset)
    assert back == pytest.approx(rows, rel=1e-6, abs=1e-6 * max(1.0, float(np.abs(rows).max())))


def test_small_bytes_that_are_not_divided_by_255_are_reported() -> None:
    minmax, halves = Scaling("minmax", 0.0, 16.0), Scaling("bytes", 0.0, 255.0)
    (clause,) = scaling_decisions("auto", minmax, np.dtype(np.uint8))
    assert "not divided by 255" in clause
    assert not scaling_decisions("minmax", minmax, np.dtype(np.uint8))
    assert not scaling_decisions("auto", minmax, np.dtype(np.int16))
    assert not scaling_decisions("auto", halves, np.dtype(np.uint8))
