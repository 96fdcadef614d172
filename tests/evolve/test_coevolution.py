from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aecompress import rng
from aecompress.engines import workers
from aecompress.evolve import visit as visit_module
from aecompress.evolve.coevolution import coevolution, visiting_order, waves
from aecompress.evolve.pruning import target_zeros
from aecompress.evolve.ring import fitness, neighbour_losses, ring_losses, tournament
from aecompress.evolve.topology import TOPOLOGIES, ring
from aecompress.evolve.visit import prune_here
from tests.evolve.plans import SEED, make_plan, make_population, make_rows
from tests.evolve.reference import Ring
from tests.modules import Plain, row_of

NOTHING = lambda: None  # noqa: E731


def generations(plan: Any, count: int, size: int = 4) -> tuple[Any, list[Any]]:
    population, reports = make_population(plan, size), []
    for _ in range(count):
        population, report = coevolution(plan, population, make_rows(), NOTHING)
        reports.append(report)
    return population, reports


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"asynchronous": True},
        {"operator": "variance", "p": 0.9},
        {"operator": "variance", "p": 0.9, "asynchronous": True},
        {"operator": "conjunctive", "schedule": "decrease"},
        {"operator": "conjunctive", "asynchronous": True, "concept": "mean"},
        {"prune_first": True, "schedule": "increase", "concept": "worst"},
        {"operator": "variance", "prune_first": True},
        {"radius": 2, "tournament": 4, "schedule": "exponential"},
        {"radius": 2, "asynchronous": True, "tournament": 1, "schedule": "increase", "p": 0.9},
        {"radius": 0, "loss": "mse", "schedule": "final_n"},
        {"loss": "bce", "schedule": "prune_after"},
        {"topology": "von-neumann"},
        {"topology": "von-neumann", "asynchronous": True, "schedule": "population", "p": 1.0, "cells": 6},
        {"topology": "moore", "operator": "variance", "p": 0.9},
        {"topology": "moore", "asynchronous": True, "cells": 12, "operator": "conjunctive"},
        {"opponents": True},
        {"opponents": True, "asynchronous": True, "block": 1},
        {"opponents": True, "operator": "variance", "p": 0.9, "radius": 2, "cells": 7},
        {"opponents": True, "operator": "conjunctive", "topology": "von-neumann", "block": 9},
        {"panmictic": True},
        {"panmictic": True, "operator": "variance", "p": 0.9, "cells": 3},
        {"panmictic": True, "operator": "conjunctive", "schedule": "population", "p": 1.0, "cells": 1},
    ],
    ids=str,
)
def test_whole_generations_equal_the_plain_reference(changes: dict[str, Any]) -> None:
    plan = make_plan(**changes)
    assert plan.ring is not None
    population, rows = make_population(plan, changes.get("cells", 4)), make_rows()
    settings = {
        "lr": 0.01, "walk": 1e-3, "batch": 5, "p": 0.6, "schedule": "fixed", "generations": 4, "operator": "random",
        "radius": 1, "tournament": 2, "concept": "best", "asynchronous": False, "prune_first": False, "loss": "l1",
        "topology": "ring", "opponents": False, "panmictic": False,
    } | changes  # fmt: skip
    ring = Ring([Plain(plan.net, row) for row in population.weights], rows.train, rows.guide, SEED, settings)
    fired = 0
    for t in range(4):
        population, report = coevolution(plan, population, rows, NOTHING)
        parents, pruned = ring.generation(t)
        assert report.parents.tolist() == parents
        assert report.pruned == pruned
        fired += sum(pruned)
        for cell, module in enumerate(ring.centres):
            torch.testing.assert_close(population.weights[cell], row_of(module), rtol=1e-6, atol=1e-8)
        assert population.learning_rate.tolist() == pytest.approx(ring.rates, rel=1e-6)
        assert population.capacity.tolist() == pytest.approx(ring.capacity)
    assert fired


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["ring", "von-neumann", "moore"])
def test_losses_of_all_pairs_equal_a_loop(size: int, shared: bool, kind: str) -> None:
    plan, topology = make_plan(), TOPOLOGIES[kind](size, 2 if kind == "ring" else 1)
    population, rows = make_population(plan, size), make_rows()
    batches = torch.stack([rows.train[cell : cell + 5] for cell in range(1 if shared else size)])
    got = ring_losses(plan.net, plan.net.layout.views(population.weights), batches, topology, "l1")
    modules = [Plain(plan.net, row) for row in population.weights]
    for cell in range(size):
        x = batches[0 if shared else cell]
        members = topology.neighbours(torch.tensor([cell]))[0].tolist()
        expected = [[(modules[d].decode(modules[e].encode(x)) - x).abs().mean() for d in members] for e in members]
        torch.testing.assert_close(got[cell], torch.tensor(expected, dtype=torch.float64))
        places = torch.tensor([members])
        alone = neighbour_losses(plan.net, population.weights, places, x[None], "l1")[0]
        torch.testing.assert_close(alone, got[cell])


def test_a_pair_with_a_loss_that_is_not_finite_never_wins() -> None:
    losses = torch.full((1, 3, 3), torch.nan)
    losses[0, 2] = torch.tensor([torch.inf, torch.nan, 5.0])
    for concept in ("best", "mean", "worst"):
        assert fitness(losses, concept).tolist() == [[torch.inf, torch.inf, 5.0]]
    one_lost = torch.tensor([[[0.2, 0.3, torch.nan], [0.4, 0.3, torch.nan], [0.1, 0.1, torch.nan]]])
    expected = {"best": [0.2, 0.3], "mean": [0.25, 0.35], "worst": [0.3, 0.4]}
    for concept, scores in expected.items():
        got = fitness(one_lost, concept)[0].tolist()
        assert got[:2] == pytest.approx(scores) and got[2] == torch.inf
    alone = tournament(make_plan(tournament=1), 0, torch.arange(50), fitness(one_lost, "best").expand(50, 3))
    assert 2 not in alone.tolist()
    plan = make_plan(tournament=64)
    cells = torch.arange(50)
    scores = fitness(losses, "best").expand(50, 3)
    assert tournament(plan, 0, cells, scores).tolist() == [2] * 50


def test_a_tie_goes_to_the_later_draw() -> None:
    plan = make_plan(tournament=2)
    cells = torch.arange(40)
    from aecompress import rng

    drawn = rng.integers(SEED, "tournament", 3, cells, 0, (2,), 3)
    assert torch.equal(tournament(plan, 3, cells, torch.ones(40, 3)), drawn[:, 1])


def test_a_lost_cell_is_replaced_by_a_neighbour_that_is_alive() -> None:
    plan = make_plan(operator="none", tournament=16)
    population = make_population(plan)
    population.weights[1] = torch.nan
    population, report = coevolution(plan, population, make_rows(), NOTHING)
    assert report.parents.tolist()[1] in (0, 2)
    assert bool(population.weights.isfinite().all())
    assert bool(population.fitness.isfinite().all())


def test_adam_state_and_masks_travel_with_the_individual_and_the_rate_stays() -> None:
    plan = make_plan(optimizer="adam", persistent=True, operator="none", walk=0.0)
    population = make_population(plan)
    assert population.moments is not None
    population.moments[0].copy_(torch.arange(4)[:, None].expand_as(population.moments[0]))
    population.masks[2, :5] = False
    population.learning_rate.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    new = population.take(torch.tensor([2, 2, 3, 0]))
    assert new.moments is not None
    assert new.moments[0][:, 0].tolist() == [2, 2, 3, 0]
    assert (~new.masks).sum(1).tolist() == [5, 5, 0, 0]
    assert new.learning_rate.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_last_generation_is_left_whole(asynchronous: bool) -> None:
    plan = make_plan(asynchronous=asynchronous, optimizer="adam", persistent=True)
    last = make_population(plan)
    before = {name: tensor.clone() for name, tensor in last.tensors().items()}
    coevolution(plan, last, make_rows(), NOTHING)
    for name, tensor in last.tensors().items():
        assert torch.equal(tensor, before[name]), name


def test_the_walk_of_the_learning_rate_stays_in_its_bounds() -> None:
    plan = make_plan(operator="none", walk=100.0, cells=7)
    population, _ = generations(plan, 1, size=7)
    assert set(population.learning_rate.tolist()) == {1e-9, 10.0}


def test_the_visiting_order_is_by_index_first_and_shuffled_later() -> None:
    assert visiting_order(1, 0, 6) == [0, 1, 2, 3, 4, 5]
    later = [visiting_order(1, t, 6) for t in (1, 2, 3)]
    assert all(sorted(order) == [0, 1, 2, 3, 4, 5] for order in later)
    assert len({tuple(order) for order in later}) == 3


def test_block_size_changes_nothing_but_rounding() -> None:
    whole, _ = generations(make_plan(block=4, optimizer="adam"), 2)
    cut, _ = generations(make_plan(block=1, optimizer="adam"), 2)
    torch.testing.assert_close(cut.weights, whole.weights)


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


BUDGETS = (0.0, 0.3, 0.6, 0.8)


def spliced(net: Any, encoder: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """One individual's parameters from the encoder of one row and the decoder of another."""
    return torch.cat([encoder[: net.encoder_size], decoder[net.encoder_size :]])


@pytest.mark.parametrize("radius", [0, 1])
def test_a_cell_takes_the_best_pair_near_it_where_that_wins_at_its_own_budget(radius: int) -> None:
    plan = make_plan(
        operator="magnitude", targets=BUDGETS, persistent=True, optimizer="adam", dominance=True, loss="mse",
        radius=radius, generations=8, walk=0.0,
    )  # fmt: skip
    assert plan.pruning is not None
    net, rows = plan.net, make_rows()
    population, taken, mixed = make_population(plan), 0, 0
    population.learning_rate *= torch.tensor([1.0, 0.01, 1.0, 0.01])  # so that some are worth copying
    for t in range(8):
        before, parents, made = population, [], []
        inherited = (~before.masks).sum(1).tolist()
        count = min(512, len(rows.validation))
        index = rng.sample(SEED, "selection", t, torch.tensor([0]), 0, len(rows.validation), count)
        batch = rows.validation[index[0]]

        def loss(row: torch.Tensor, batch: torch.Tensor = batch) -> float:
            return float(torch.nn.functional.mse_loss(Plain(net, row)(batch).detach(), batch))

        for cell in range(4):
            near = [(cell + place) % 4 for place in ((0, 1, -1) if radius else (0,))]
            own = before.weights[cell]
            pairs = {(e, d): loss(spliced(net, before.weights[e], before.weights[d])) for e in near for d in near}
            del pairs[cell, cell]
            row, parent = own, cell
            if pairs and BUDGETS[cell]:  # the dense cell stays dense
                e, d = min(pairs, key=lambda pair: pairs[pair])
                rival = spliced(net, before.weights[e], before.weights[d])
                zeros = target_zeros(net, plan.pruning, [cell], t / 8)[0]
                open_ = spliced(net, before.masks[e], before.masks[d])
                if zeros > int((~open_).sum()):
                    open_ = torch.ones_like(open_)
                    open_[rival.abs().argsort()[:zeros]] = False
                    rival = rival * open_
                if loss(rival) < loss(own) and int(open_.sum()) <= int(before.masks[cell].sum()):
                    row, parent = rival, e
                    inherited[cell] = int((~open_).sum())
                    taken, mixed = taken + 1, mixed + (e != d)
            made.append(row)
            parents.append(parent)
        expected = before.take(torch.arange(4))
        expected.weights.copy_(torch.stack(made))
        population, report = coevolution(plan, population, rows, NOTHING)
        assert report.parents.tolist() == parents, t
    assert bool(taken) == bool(radius)
    zeros = (~population.masks).sum(1).tolist()
    asked = [round(share * net.model_size) for share in BUDGETS]
    assert zeros == [max(pair) for pair in zip(asked, inherited, strict=True)]  # a sparser pair keeps its zeros
    assert zeros[0] == 0 and (zeros == asked) != bool(radius)
    assert bool((population.weights[~population.masks] == 0).all())


def test_cells_with_budgets_learn_the_same_in_blocks_of_any_size_and_pruned_by_any_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visit_module, "SHARED_PRUNE", 0)
    by, results = set[int](), []

    def noted(*arguments: Any) -> list[bool]:
        by.add(len(arguments[2]))
        return prune_here(*arguments)

    for block, shared in ((1, False), (2, False), (4, False), (4, True)):
        plan = make_plan(
            operator="magnitude", targets=BUDGETS, persistent=True, optimizer="adam", dominance=True, block=block,
            regrowth=0.4,
        )  # fmt: skip
        if shared:
            by.clear()
            monkeypatch.setattr(visit_module, "prune_here", noted)
            monkeypatch.setattr(workers, "cores", lambda: 3)
            plan = dataclasses.replace(plan, engine=dataclasses.replace(plan.engine, whole_passes=True))
        results.append(generations(plan, 4)[0])
    assert by == {2}
    for other in results[1:]:
        torch.testing.assert_close(other.weights, results[0].weights)
        assert torch.equal(other.masks, results[0].masks)
