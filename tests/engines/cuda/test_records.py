"""What kernels are given."""

from __future__ import annotations

import pytest
import torch

from aecompress.engines.cuda.records import cells_of, home_of
from tests.engines.cuda.cases import PLAIN, work_of


@pytest.mark.parametrize("name", ["masks", "fresh"])
def test_a_part_is_found_in_the_cells_that_it_is_a_part_of(name: str) -> None:
    block = work_of(PLAIN[name]).block
    home = cells_of(block)
    for first in range(3):
        cells, place = home_of(block.part(first, first + 1))
        assert place == first and cells.n == block.weights.shape[1]
        for field, mine in home._asdict().items():
            if isinstance(mine, torch.Tensor):
                assert getattr(cells, field).data_ptr() == mine.data_ptr(), field
    picked, place = home_of(block.pick(torch.tensor([2, 0])))
    assert place == 0 and torch.equal(picked.w, block.weights[[2, 0]])


def test_tensors_that_are_parts_of_others_begin_where_all_have_cells() -> None:
    """Training weights that are not the tensors of one population, in place."""
    block = work_of(PLAIN["masks"]).block
    part = block.part(1, 3)
    part.masks = part.masks.clone()
    cells, place = home_of(part)
    assert place == 0 and cells.w.data_ptr() == block.weights[1:].data_ptr()
    assert cells.masks.data_ptr() == part.masks.data_ptr()


def test_what_a_rule_and_statistics_do_not_need() -> None:
    cells = cells_of(work_of(PLAIN["fresh"]).block)
    assert cells.m is cells.w and cells.v is cells.w and cells.total is not None
    assert cells_of(work_of(PLAIN["adam"]).block).total is None
