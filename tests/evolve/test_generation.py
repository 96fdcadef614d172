"""Whole generations under every rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aecompress.evolve.generation import generation
from aecompress.registry import RULES
from tests.evolve.plans import SEED, generations, make_plan, make_population, make_rows
from tests.evolve.reference import Ring
from tests.modules import Plain, row_of

NOTHING = lambda: None  # noqa: E731


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"asynchronous": True},
        {"operator": "variance", "p": 0.9},
        {"operator": "variance", "p": 0.9, "asynchronous": True},
        {"operator": "conjunctive", "schedule": "decrease"},
        {"operator": "conjunctive", "asynchronous": True, "concept": "mean"},
        {"rule": "pair-prune-first", "schedule": "increase", "concept": "worst"},
        {"operator": "variance", "rule": "pair-prune-first"},
        {"radius": 2, "tournament": 4, "schedule": "exponential"},
        {"radius": 2, "asynchronous": True, "tournament": 1, "schedule": "increase", "p": 0.9},
        {"radius": 0, "loss": "mse", "schedule": "final_n"},
        {"loss": "bce", "schedule": "prune_after"},
        {"topology": "von-neumann"},
        {"topology": "von-neumann", "asynchronous": True, "schedule": "population", "p": 1.0, "cells": 6},
        {"topology": "moore", "operator": "variance", "p": 0.9},
        {"topology": "moore", "asynchronous": True, "cells": 12, "operator": "conjunctive"},
        {"rule": "opponents"},
        {"rule": "opponents", "asynchronous": True, "block": 1},
        {"rule": "opponents", "operator": "variance", "p": 0.9, "radius": 2, "cells": 7},
        {"rule": "opponents", "operator": "conjunctive", "topology": "von-neumann", "block": 9},
        {"rule": "panmictic"},
        {"rule": "panmictic", "operator": "variance", "p": 0.9, "cells": 3},
        {"rule": "panmictic", "operator": "conjunctive", "schedule": "population", "p": 1.0, "cells": 1},
    ],
    ids=str,
)
def test_whole_generations_equal_the_plain_reference(changes: dict[str, Any]) -> None:
    plan = make_plan(**changes)
    population, rows = make_population(plan, changes.get("cells", 4)), make_rows()
    settings = {
        "lr": 0.01, "walk": 1e-3, "batch": 5, "p": 0.6, "schedule": "fixed", "generations": 4, "operator": "random",
        "radius": 1, "tournament": 2, "concept": "best", "asynchronous": False, "rule": "pair", "loss": "l1",
        "topology": "ring",
    } | changes  # fmt: skip
    ring = Ring([Plain(plan.net, row) for row in population.weights], rows.train, rows.guide, SEED, settings)
    hits = 0
    for t in range(4):
        population, report = generation(plan, population, rows, NOTHING)
        parents, pruned = ring.generation(t)
        assert report.parents.tolist() == parents
        assert report.pruned == pruned
        hits += sum(pruned)
        for cell, module in enumerate(ring.centres):
            torch.testing.assert_close(population.weights[cell], row_of(module), rtol=1e-6, atol=1e-8)
        assert population.learning_rate.tolist() == pytest.approx(ring.rates, rel=1e-6)
        assert population.capacity.tolist() == pytest.approx(ring.capacity)
    assert hits


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_the_last_generation_is_left_whole(rule: str, asynchronous: bool) -> None:
    budgets = {"operator": "magnitude", "targets": (0.0, 0.3, 0.6, 0.8)} if RULES[rule].own_budgets else {}
    plan = make_plan(rule=rule, asynchronous=asynchronous, optimizer="adam", persistent=True, **budgets)
    last = make_population(plan)
    before = {name: tensor.clone() for name, tensor in last.tensors().items()}
    generation(plan, last, make_rows(), NOTHING)
    for name, tensor in last.tensors().items():
        assert torch.equal(tensor, before[name]), name


def test_the_walk_of_the_learning_rate_stays_in_its_bounds() -> None:
    plan = make_plan(operator="none", walk=100.0, cells=7)
    population, _ = generations(plan, 1, size=7)
    assert set(population.learning_rate.tolist()) == {1e-9, 10.0}


def test_block_size_changes_nothing_but_rounding() -> None:
    whole, _ = generations(make_plan(block=4, optimizer="adam"), 2)
    cut, _ = generations(make_plan(block=1, optimizer="adam"), 2)
    torch.testing.assert_close(cut.weights, whole.weights)
