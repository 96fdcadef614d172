"""The visits of the rule pair: their order, and who replaces whom."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from aecompress.evolve.generation import generation
from aecompress.evolve.rules.pair import visiting_order, waves
from aecompress.evolve.topology import ring
from tests.evolve.plans import make_plan, make_population, make_rows

NOTHING = lambda: None  # noqa: E731


def test_a_lost_cell_is_replaced_by_a_neighbour_that_is_alive() -> None:
    plan = make_plan(operator="none", tournament=16)
    population = make_population(plan)
    population.weights[1] = torch.nan
    population, report = generation(plan, population, make_rows(), NOTHING)
    assert report.parents.tolist()[1] in (0, 2)
    assert bool(population.weights.isfinite().all())
    assert bool(population.fitness.isfinite().all())


def test_the_visiting_order_is_by_index_first_and_shuffled_later() -> None:
    assert visiting_order(1, 0, 6) == [0, 1, 2, 3, 4, 5]
    later = [visiting_order(1, t, 6) for t in (1, 2, 3)]
    assert all(sorted(order) == [0, 1, 2, 3, 4, 5] for order in later)
    assert len({tuple(order) for order in later}) == 3


@given(st.permutations(list(range(9))), st.integers(0, 5))
def test_waves_keep_every_neighbours_turn_and_hold_no_two_neighbours(order: list[int], radius: int) -> None:
    groups = waves(order, ring(9, radius))
    turn = {cell: number for number, group in enumerate(groups) for cell in group}
    assert sorted(turn) == list(range(9))
    for cell in order:
        for other in {(cell + place) % 9 for place in range(-radius, radius + 1)} - {cell}:
            assert (turn[other] < turn[cell]) == (order.index(other) < order.index(cell))


def test_cells_without_neighbours_are_all_visited_at_once() -> None:
    assert waves([2, 0, 1], ring(3, 0)) == [[2, 0, 1]]
    assert waves([0, 1, 2, 3], ring(4, 1)) == [[0], [1], [2], [3]]
    assert waves([0, 2, 1, 3], ring(4, 1)) == [[0, 2], [1, 3]]
