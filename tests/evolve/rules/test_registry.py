"""Every rule keeps the contract, and a new one is one row."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from aecompress import events
from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.generation import generation
from aecompress.evolve.rules.registry import RULES, RuleRow
from aecompress.evolve.visit import visit_all
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.fields import RULE_TRAITS
from aecompress.spec.resolve import resolve
from tests.evolve.plans import generations, make_plan, make_population, make_rows

BUDGETS: dict[str, Any] = {
    "operator": "magnitude",
    "targets": (0.0, 0.3, 0.6, 0.8),
    "persistent": True,
    "optimizer": "adam",
}


def test_a_spec_knows_every_rule() -> None:
    assert set(RULE_TRAITS) == {"auto", *RULES}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("trait", ["spatial", "changes_partners", "own_budgets"])
def test_a_spec_knows_of_a_rule_what_the_registry_says(name: str, trait: str) -> None:
    assert getattr(RULE_TRAITS[name], trait) == getattr(RULES[name], trait)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_new_individuals_of_known_cells_and_the_same_bits_again(name: str) -> None:
    plan = make_plan(rule=name, **(BUDGETS if RULES[name].own_budgets else {}))
    last, rows = make_population(plan), make_rows()
    new, report = generation(plan, last, rows, lambda: None)
    assert new.generation == 1 and last.generation == 0
    assert torch.equal(new.cells, last.cells) and report.parents.shape == (4,)
    assert bool(((report.parents >= 0) & (report.parents < 4)).all())
    assert len(report.pruned) == 4 and sorted(report.order) in ([], [0, 1, 2, 3])
    assert not torch.equal(new.weights, last.weights) and bool(new.fitness.isfinite().all())
    again, _ = generation(plan, last, rows, lambda: None)
    for key, tensor in new.tensors().items():
        assert torch.equal(again.tensors()[key], tensor), key


@pytest.mark.parametrize("name", RULES)
def test_a_poll_that_raises_stops_every_rule(name: str) -> None:
    def stop() -> None:
        raise InterruptedError

    plan = make_plan(rule=name, **(BUDGETS if RULES[name].own_budgets else {}))
    with pytest.raises(InterruptedError):
        generation(plan, make_population(plan), make_rows(), stop)


@pytest.mark.parametrize("name", RULES)
def test_the_rates_walk_alone_or_together(name: str) -> None:
    plan = make_plan(rule=name, walk=1e-3, **(BUDGETS if RULES[name].own_budgets else {}))
    population, _ = generations(plan, 1)
    assert (len(population.learning_rate.unique()) == 1) == RULES[name].one_rate


def leader(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Fill every cell with the fittest individual, then train and prune it there."""
    parents = last.fitness.argmin().repeat(len(last))
    new = last.take(parents)
    pruned = visit_all(plan, new, list(range(len(new))), rows, poll)
    return Visited(population=new, parents=parents, pruned=pruned, order=[])


def test_a_toy_rule_is_one_row_and_carries_out_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "leader", RuleRow(leader, spatial=False))
    fields = {"data.source": "binary-clusters:2x5x20", "train.epochs": 3, "evolve.rule": "pair"}
    job = prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")
    job = dataclasses.replace(job, plan=dataclasses.replace(job.plan, rule="leader"))
    log = list(run(job))
    assert isinstance(log[-1], events.Finished)
    made = [event for event in log if isinstance(event, events.Generation)]
    assert len(made) == 3
    for before, after in itertools.pairwise(made):
        best = min(range(len(before.validation_loss)), key=lambda cell: before.validation_loss[cell])
        assert set(after.parents) == {best}
