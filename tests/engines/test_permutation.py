"""A random order that is made in stretches is the order that is made at once."""

from __future__ import annotations

import pytest
import torch

from aecompress import rng
from aecompress.engines import permutation
from aecompress.engines.permutation import Permutation


@pytest.mark.parametrize("held", [1, 50, 1 << 20])
@pytest.mark.parametrize("size", [1, 2, 255, 256, 3000])
def test_stretches_are_those_of_the_whole_order(monkeypatch: pytest.MonkeyPatch, size: int, held: int) -> None:
    monkeypatch.setattr(permutation, "HELD", held)
    monkeypatch.setattr(permutation, "TOGETHER", 1000)
    cells = torch.tensor([4, 0, 7])
    right = rng.permutation(3, "batches", 5, cells, 0, size)
    order = Permutation(rng.keys(3, "batches", 5, cells, 0), size)
    for first in range(0, size, 300):
        assert torch.equal(order[:, first : first + 300], right[:, first : first + 300])
    assert torch.equal(order[:, 1:2], right[:, 1:2])  # one that was let go
