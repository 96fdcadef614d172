"""Principal components, held against scikit-learn's."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from aecompress.data import pca
from aecompress.data.base import Floats, Request
from aecompress.data.dataset import load
from aecompress.data.pca import Components, principal_components, why_no_components
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.sparse import SparseRows


def low_rank(rows: int, inputs: int, rank: int, noise: float = 0.01, seed: int = 0) -> Floats:
    draw = np.random.default_rng(seed)
    scales = 0.8 ** np.arange(rank)
    values = (draw.standard_normal((rows, rank)) * scales) @ draw.standard_normal((rank, inputs))
    return (values + noise * draw.standard_normal((rows, inputs)) + 3).astype(np.float32)


def expected(rows: Floats, count: int) -> tuple[PCA, NDArray[np.float64]]:
    wide = rows.astype(float)
    oracle = PCA(count, svd_solver="full").fit(wide)
    return oracle, oracle.inverse_transform(oracle.transform(wide))


def check(found: Components, rows: Floats, count: int, tolerance: float = 1e-5) -> None:
    oracle, reconstructed = expected(rows, count)
    np.testing.assert_allclose(found.mean, oracle.mean_, atol=1e-6)
    np.testing.assert_allclose(found.variances, oracle.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(count), atol=1e-10)
    np.testing.assert_allclose(found.reconstruct(rows), reconstructed, atol=tolerance)


@pytest.mark.parametrize(("rows", "inputs"), [(400, 12), (30, 30), (12, 300), (40, 1100)])
def test_components_are_those_of_scikit_learn(rows: int, inputs: int) -> None:
    values = low_rank(rows, inputs, 5)
    check(principal_components(values, 4), values, 4)


def test_each_direction_has_its_greatest_value_positive() -> None:
    for shape in ((200, 9), (9, 1200)):
        found = principal_components(low_rank(*shape, 4), 3)
        assert (found.directions.max(axis=0) >= -found.directions.min(axis=0)).all()


def test_subspace_iteration_explains_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "SMALL", 50)
    rows = low_rank(300, 200, 30, noise=0.3)
    found, (_, reconstructed) = principal_components(rows, 6), expected(rows, 6)
    errors = [float(np.square(rows - values).mean()) for values in (found.reconstruct(rows), reconstructed)]
    assert errors[1] <= errors[0] <= 1.01 * errors[1]
    rows = low_rank(300, 200, 5)
    check(principal_components(rows, 4), rows, 4)


def test_few_rows_of_very_many_inputs_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = low_rank(40, 1100, 5)
    held = principal_components(rows, 4)
    monkeypatch.setattr(pca, "MOST_HELD", rows.size - 1)
    monkeypatch.setattr(pca, "_of_products", None)
    np.testing.assert_allclose(principal_components(rows, 4).reconstruct(rows), held.reconstruct(rows), atol=1e-5)


@pytest.mark.parametrize("small", [50, 1024])
def test_rows_in_several_blocks_give_the_same(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "SMALL", small)
    monkeypatch.setattr(pca, "BLOCK_VALUES", 7 * 60)
    rows = low_rank(100, 60, 5)
    check(principal_components(rows, 4), rows, 4)


@pytest.mark.parametrize("small", [20, 1024])
def test_float32_products_are_near_enough(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "SMALL", small)
    monkeypatch.setattr(pca, "PRECISE", 0)
    for shape in ((200, 30), (25, 60)):
        rows = low_rank(*shape, 5)
        check(principal_components(rows, 4), rows, 4, tolerance=1e-4)


def test_there_are_no_more_components_than_directions_the_rows_vary_in() -> None:
    rows = low_rank(50, 8, 3, noise=0.0)
    assert principal_components(rows.astype(np.float32), 8).directions.shape[1] >= 3
    rows[:, 4:] = 2.5
    assert principal_components(rows, 8).directions.shape == (8, 3)
    assert principal_components(low_rank(4, 2000, 3), 10).directions.shape == (2000, 3)
    constant = principal_components(np.full((10, 5), 0.25, np.float32), 3)
    assert constant.directions.shape == (5, 0)
    np.testing.assert_array_equal(constant.reconstruct(np.ones((2, 5), np.float32)), np.full((2, 5), 0.25))


def test_sparse_rows_and_those_of_a_file_are_taken_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "BLOCK_VALUES", 70)
    draw = np.random.default_rng(3)
    dense = (draw.random((60, 10)) < draw.random(10)).astype(np.float32)
    owners, places = np.nonzero(dense)
    starts = np.concatenate([[0], np.bincount(owners, minlength=60).cumsum()])
    found = principal_components(SparseRows(starts, places.astype(np.int32), 10), 3)
    check(found, dense, 3)
    np.save(tmp_path / "rows.npy", low_rank(90, 10, 4))
    there = load(Request(source="rows.npy", in_memory="no", directory=tmp_path)).train
    assert isinstance(there, ScaledRows)
    check(principal_components(there, 3), there[:], 3)


def test_components_that_cost_too_much_are_named() -> None:
    assert why_no_components(np.zeros((100, 10), np.float32), 4) == ""
    many = SparseRows(np.zeros(200_001, np.int64), np.zeros(0, np.int32), 100_000)
    assert why_no_components(many, 50) == "it would take too long on 200,000 rows of 100,000 inputs"
