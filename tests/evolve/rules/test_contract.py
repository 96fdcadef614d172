"""Every rule of the registry keeps the contract, and a new one is one row."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aecompress.evolve.generation import generation
from aecompress.registry import RULES
from tests.commands import aecompress
from tests.evolve.plans import generations, make_plan, make_population, make_rows
from tests.evolve.rules import leader

BUDGETS: dict[str, Any] = {
    "operator": "magnitude",
    "targets": (0.0, 0.3, 0.6, 0.8),
    "persistent": True,
    "optimizer": "adam",
}


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


def test_a_toy_rule_is_one_row_and_carries_out_a_run_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "leader", leader.ROW)
    run = tmp_path / "run"
    words = ["binary-clusters:2x5x20", "--epochs", "3", "--rule", "leader", "--target-sparsity", "0.5", "--quiet"]
    done = aecompress("prune", *words, "-o", run)
    assert done.returncode == 0, done.stderr
    assert 'rule = "leader"  # --rule' in (run / "spec.toml").read_text()
    log = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    made = [event for event in log if event["event"] == "generation"]
    assert len(made) == 3
    for before, after in itertools.pairwise(made):
        losses = before["validation_loss"]
        assert set(after["parents"]) == {losses.index(min(losses))}
    verified = aecompress("verify", run / "model" / "autoencoder.onnx", run / "model")
    assert verified.returncode == 0, verified.stderr
    assert (run / "model" / "autoencoder.onnx").is_file()
    refused = aecompress("spec", "--rule", "leader", "--set", "evolve.radius=2")
    assert refused.returncode == 2 and "a leader population has no space and no selection" in refused.stderr
