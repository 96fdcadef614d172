"""Cells with budgets of their own: each takes the best pair near it where that beats its own, and no other."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from aecompress import rng
from aecompress.engines import workers
from aecompress.engines.base import Blocks
from aecompress.evolve import visit as visit_module
from aecompress.evolve.generation import generation
from aecompress.evolve.pruning import target_zeros
from aecompress.evolve.visit import prune_by_target
from tests.evolve.plans import SEED, generations, make_plan, make_population, make_rows
from tests.modules import Plain

NOTHING = lambda: None  # noqa: E731
BUDGETS = (0.0, 0.3, 0.6, 0.8)


def spliced(net: Any, encoder: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """One individual's parameters from the encoder of one row and the decoder of another."""
    return torch.cat([encoder[: net.encoder_size], decoder[net.encoder_size :]])


@pytest.mark.parametrize("radius", [0, 1])
def test_a_cell_takes_the_best_pair_near_it_where_that_wins_at_its_own_budget(radius: int) -> None:
    plan = make_plan(
        operator="magnitude", targets=BUDGETS, persistent=True, optimizer="adam", rule="dominance", loss="mse",
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
        index = rng.sample(SEED, "selection", t, torch.tensor([0]), 0, len(rows.validation), count=count)
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
        population, report = generation(plan, population, rows, NOTHING)
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
        by.add(len(arguments[3]))
        return prune_by_target(*arguments)

    for block, shared in ((1, False), (2, False), (4, False), (4, True)):
        plan = make_plan(
            operator="magnitude", targets=BUDGETS, persistent=True, optimizer="adam", rule="dominance", block=block,
            regrowth=0.4,
        )  # fmt: skip
        if shared:
            by.clear()
            monkeypatch.setattr(visit_module, "prune_by_target", noted)
            monkeypatch.setattr(workers, "cores", lambda: 3)
            plan = dataclasses.replace(plan, blocks=Blocks(block, "cells", 1))
        results.append(generations(plan, 4)[0])
    assert by == {2}
    for other in results[1:]:
        torch.testing.assert_close(other.weights, results[0].weights)
        assert torch.equal(other.masks, results[0].masks)
