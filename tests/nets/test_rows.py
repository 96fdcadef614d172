from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from aecompress.nets.rows import SparseTensor, StoredTensor, chunks, gather, picked
from tests.nets.stored import Array


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


def test_rows_that_are_stored_are_read_when_they_are_taken() -> None:
    dense = torch.arange(60, dtype=torch.float32).view(20, 3)
    rows = StoredTensor(Array(dense.numpy()), torch.float64)
    assert rows.shape == (20, 3) and len(rows) == 20 and rows.device.type == "cpu"
    index = torch.tensor([[7, 0], [7, 19]])
    assert torch.equal(gather(rows, index), dense[index].double()) and torch.equal(rows[4:9], dense[4:9].double())
    some = picked(rows, index[1])
    assert isinstance(some, StoredTensor) and torch.equal(some[0:2], dense[index[1]].double())
    assert torch.equal(torch.cat(list(chunks(rows, 7))), dense.double())
