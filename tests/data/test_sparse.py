"""Sparse rows equal the dense rows they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecompress.data.sparse import FEW, SparseRows, few


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
