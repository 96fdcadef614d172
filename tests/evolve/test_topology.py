from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aecompress.evolve.topology import TOPOLOGIES, ring, torus
from tests.evolve.reference import GRIDS, neighbourhood

KINDS = sorted(TOPOLOGIES)


def test_ring_neighbours_are_right_then_left_out_to_the_radius() -> None:
    assert [place[1] for place in ring(9, 3).members] == [0, 1, -1, 2, -2, 3, -3]
    assert ring(9, 2).neighbours(torch.tensor([8]))[0].tolist() == [8, 0, 7, 1, 6]


@pytest.mark.parametrize("size", sorted(GRIDS))
@pytest.mark.parametrize("kind", ["von-neumann", "moore"])
def test_a_grid_is_as_near_to_a_square_as_it_can_be_and_closed(size: int, kind: str) -> None:
    topology = TOPOLOGIES[kind](size, 1)
    assert (topology.rows, topology.columns) == GRIDS[size]
    for cell in range(size):
        assert topology.neighbours(torch.tensor([cell]))[0].tolist() == neighbourhood(kind, cell, size, 1)


def test_a_grid_by_hand() -> None:
    # 0 1 2 3
    # 4 5 6 7
    # 8 9 10 11
    cell = torch.tensor([0, 6])
    assert torus(12, 1, corners=False).neighbours(cell).tolist() == [[0, 1, 3, 4, 8], [6, 7, 5, 10, 2]]
    assert sorted(torus(12, 1, corners=True).neighbours(cell)[1].tolist()) == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert len(torus(100, 2, corners=False).members) == 13 and len(torus(100, 2, corners=True).members) == 25


@given(st.sampled_from(KINDS), st.integers(1, 24), st.integers(0, 3))
def test_the_ways_of_asking_agree(kind: str, size: int, radius: int) -> None:
    topology, cells = TOPOLOGIES[kind](size, radius), torch.arange(size)
    table = topology.neighbours(cells)
    assert topology.rows * topology.columns == size and topology.members[0] == (0, 0)
    for number, place in enumerate(topology.members):
        assert torch.equal(topology.seen_from(cells, place), table[:, number])
        for other, end in enumerate(topology.members):
            reached = topology.seen_from(cells, topology.distance(place, end))
            assert torch.equal(reached[table[:, number]], table[:, other])
    for cell in range(size):
        assert topology.near(cell) == set(table[cell].tolist()) - {cell}
        assert all(cell in topology.near(other) for other in topology.near(cell))
