"""Sparse rows equal the dense rows they stand for; users are split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecompress.data.base import Request
from aecompress.data.dataset import load, write_npz
from aecompress.data.describe import describe
from aecompress.data.interactions import FEW, SparseRows, few
from aecompress.data.sources.interactions import users_and_items
from aecompress.errors import DataError

SMALL = Path(__file__).parent.parent / "fixtures" / "interactions.csv"


def sparse(dense: np.ndarray) -> SparseRows:
    owners, places = np.nonzero(dense)
    starts = np.searchsorted(owners, np.arange(len(dense) + 1)).astype(np.int64)
    return SparseRows(starts, places.astype(np.int32), dense.shape[1])


DENSE = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=7)
).map(lambda rows: np.array(rows, dtype=np.float32))  # fmt: skip


@given(DENSE, st.integers(0, 8), st.integers(0, 8), st.randoms())
def test_sparse_rows_are_the_dense_rows(dense: np.ndarray, first: int, last: int, random: object) -> None:
    rows = sparse(dense)
    assert rows.shape == dense.shape and len(rows) == len(dense)
    np.testing.assert_array_equal(rows[first:last], dense[first:last])
    np.testing.assert_array_equal(few(rows), dense[:FEW])
    np.testing.assert_allclose(rows.mean(0), dense.mean(0))
    np.testing.assert_allclose(rows.var(0), dense.var(0, dtype=float), atol=1e-12)
    assert float(rows.mean()) == pytest.approx(dense.mean())
    index = np.random.default_rng(len(dense)).permutation(len(dense))[: len(dense) // 2 + 1]
    np.testing.assert_array_equal(few(rows.pick(index)), dense[index])


def test_users_are_split_and_the_items_named(tmp_path: Path) -> None:
    request = Request(source=f"interactions:{SMALL}", seed=3)
    dataset = load(request)
    assert {name: rows.shape for name, rows in dataset.splits.items()} == {
        "train": (192, 60), "validation": (24, 60), "test": (24, 60),
    }  # fmt: skip
    assert len(dataset.inputs) == 60 and len(set(dataset.inputs)) == 60
    whole, _ = users_and_items(SMALL)
    parts = np.concatenate([few(rows) for rows in dataset.splits.values()])
    assert sorted(map(tuple, parts)) == sorted(map(tuple, few(whole)))
    assert load(request).fingerprint == dataset.fingerprint != load(replace(request, seed=4)).fingerprint
    facts = describe(dataset)
    train = few(dataset.train)
    assert facts["interactions"] == 2290 and facts["mean"] == pytest.approx(train.mean())
    assert facts["constant_mse"] == pytest.approx(train.var(0, dtype=float).mean())
    with pytest.raises(DataError, match="kept sparse"):
        write_npz(dataset, tmp_path / "rows.npz")
