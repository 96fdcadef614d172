from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from aecompress.nets.rows import SparseTensor, chunks, picked


def sparse(dense: torch.Tensor) -> SparseTensor:
    owners, places = dense.nonzero(as_tuple=True)
    starts = torch.searchsorted(owners, torch.arange(len(dense) + 1))
    return SparseTensor(
        starts=starts,
        places=places.to(torch.int32),
        inputs=dense.shape[1],
        dtype=dense.dtype,
        longest=int(dense.count_nonzero(1).max()),
    )


@given(st.integers(1, 9), st.integers(1, 7), st.integers(0, 99))
def test_batches_slices_and_picks_are_those_of_the_dense_rows(count: int, width: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    dense = torch.from_numpy((draws.random((count, width)) < 0.3).astype(np.float64))
    rows = sparse(dense)
    assert rows.shape == tuple(dense.shape) and rows.dtype == dense.dtype and rows.device == dense.device
    index = torch.from_numpy(draws.integers(0, count, 5))
    assert torch.equal(rows.index_select(0, index), dense[index])
    assert torch.equal(rows.padded(index), dense[index]) and rows.padded(index).is_contiguous()
    assert torch.equal(rows[1:4], dense[1:4])
    some = picked(rows, index)
    assert isinstance(some, SparseTensor) and torch.equal(some[0:5], dense[index])
    assert torch.equal(torch.cat(list(chunks(rows, 2))), dense)
    assert torch.equal(torch.cat(list(chunks(dense, 2))), dense)
    assert torch.equal(picked(dense, index), dense[index])
