"""Selection by digits, in Triton's interpreter: the places that a stable sort gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aecompress.evolve.select import lowest_of_parts
from tests.engines.cuda.cases import needs_interpreter

SIZES = (90, 1, 20, 210)


def signed_zeros(scores: Tensor) -> Tensor:
    return torch.where(scores > 0, 0.0, -0.0)


def pruned(scores: Tensor) -> Tensor:
    """Most are -infinity, some +infinity: what masks make of scores."""
    scores = scores.masked_fill(scores < 0.5, -torch.inf)
    return scores.masked_fill(scores > 1.5, torch.inf)


@needs_interpreter
@pytest.mark.parametrize(
    "kind", [torch.clone, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (torch.round, signed_zeros)), pruned]
)
def test_the_lowest_of_each_part_are_those_of_a_sort(
    kind: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aecompress.engines.cuda import select_kernels

    monkeypatch.setattr(select_kernels, "STRETCH", 32)
    monkeypatch.setattr(select_kernels, "TURN", 2)
    select_kernels.table_of.cache_clear()
    draws = torch.Generator().manual_seed(3)
    scores = kind(torch.randn((2, sum(SIZES)), generator=draws))
    counts = [[0, 1, 9, 105], [90, 0, 20, 209]]
    got = select_kernels.lowest_of_parts(scores, SIZES, counts)
    select_kernels.table_of.cache_clear()
    assert torch.equal(got, lowest_of_parts(scores, SIZES, counts))
    for row in range(2):
        first, end = sum(SIZES[:3]), sum(SIZES)
        order = scores[row, first:end].argsort(stable=True)[: counts[row][3]]
        assert sorted(order.tolist()) == got[row, first:end].nonzero().flatten().tolist()


@needs_interpreter
def test_not_a_number_goes_last() -> None:
    from aecompress.engines.cuda import select_kernels

    scores = torch.tensor([[3.0, torch.nan, 1.0, -torch.nan, torch.inf]])
    got = select_kernels.lowest_of_parts(scores, (5,), [[3]])
    assert got.tolist() == [[True, False, True, False, True]]
