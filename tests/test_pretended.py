"""Whole runs on a pretended device: the CPU's bits, and how often the host waits for it."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aecompress.evolve.generation import generation
from aecompress.plan import engine as engine_module
from aecompress.registry import OPERATORS, RULES
from aecompress.runs import trip
from tests import pretended
from tests.commands import aecompress
from tests.evolve.plans import make_plan, make_population, make_rows

SMALL = ("binary-clusters:4x10x30", "--hidden", "8", "--latent", "4", "--epochs", "4", "--batch", "8")
SPECS: dict[str, tuple[str, ...]] = {
    "ring, magnitude": (),
    "taylor": ("prune.operator=taylor",),
    "wanda, units": ("prune.operator=wanda", "prune.granularity=unit"),
    "free masks": ("prune.masks=free",),
    "moore": ("evolve.topology=moore", "evolve.cells=6"),
    "asynchronous, variance": ("evolve.order=asynchronous", "prune.operator=variance", "train.rate=walk"),
    "fresh Adam, conjunctive": ("train.optimizer=fresh-adam", "prune.operator=conjunctive", "prune.granularity=unit"),
    "canonical, variational": ("mode=canonical", "model.family=variational"),
    "opponents": ("evolve.rule=opponents", "evolve.cells=4"),
    "pair": ("evolve.rule=pair", "evolve.cells=4"),
    "panmictic": ("evolve.rule=panmictic", "evolve.cells=4", "prune.operator=variance"),
    "denoising, bf16": ("model.family=denoising", "precision=bf16"),
    "tf32": ("precision=tf32", "train.optimizer=fresh-adam"),
    "interactions": ("data.source=interactions:tests/fixtures/interactions.csv",),
}
QUICK = ("wanda, units", "asynchronous, variance")


def outcome(folder: Path, device: str, settings: tuple[str, ...]) -> dict[str, bytes]:
    """The weights, and what the log says of generations, of a run from the command line."""
    chosen = [each for setting in settings for each in ("--set", setting)]
    source = () if any(each.startswith("data.") for each in settings) else SMALL[:1]
    done = aecompress("prune", *source, *SMALL[1:], "--device", device, "--compile", "off", "-o", folder, *chosen)
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert any(event["event"] == "verified" and event["passed"] for event in log)
    lines = [{key: value for key, value in event.items() if key not in ("at", "seconds")} for event in log]
    told = json.dumps([line for line in lines if "generation" in line and line["event"] != "checkpoint"]).encode()
    return {"log": told, **{each.name: each.read_bytes() for each in (folder / "model").glob("*.safetensors")}}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SPECS]
)
def test_a_run_has_the_bits_of_the_cpu_and_waits_twice_a_generation(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for its figures and once for its picture; never in training, selection and pruning."""
    monkeypatch.setattr(engine_module, "check_precision", lambda load: None)
    settings, seen = (*SPECS[name], "checkpoint_every=100"), list[tuple[int, int]]()

    def counted(evolve: Any, *given: Any) -> Any:
        before = pretended.stops.total()
        result = evolve(*given)
        seen.append((before, pretended.stops.total()))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(trip, "generation", functools.partial(counted, trip.generation))
        with pretended.device():
            got = outcome(tmp_path / "gpu", "cuda", settings)
    assert len(seen) == 4
    assert [end - start for start, end in seen[1:]] == [0, 0, 0], pretended.stops  # the first one fills tables
    assert all(after[0] - before[0] == 2 for before, after in itertools.pairwise(seen[1:])), pretended.stops
    assert got == outcome(tmp_path / "cpu", "cpu", settings)


def every_rule_and_operator() -> list[dict[str, Any]]:
    """Of every row of both registries a plan at least: operators of both granularities, with regrowth, as published."""
    budgets = {"targets": (0.0, 0.3, 0.6, 0.8), "persistent": True}
    target = {"target": 0.6, "persistent": True, "regrowth": 0.5}
    return [
        *({"rule": name, **(budgets if row.own_budgets else {})} for name, row in RULES.items()),
        *({"operator": name} for name, row in OPERATORS.items() if row.published),
        *({"operator": name, "granularity": kind, **target} for name in OPERATORS for kind in ("weight", "unit")),
        {"asynchronous": True, "shared_batch": True, "radius": 2, "noise": "input"},
    ]


@pytest.mark.parametrize("changes", every_rule_and_operator(), ids=str)
def test_the_host_waits_for_nothing_in_a_generation_of_any_rule_and_operator(changes: dict[str, Any]) -> None:
    """So a run waits twice, for the figures and for the picture, whatever its rule."""
    with pretended.device():
        plan = make_plan(**{"optimizer": "adam", "batch": 12, "block": 4} | changes)
        rows, population = make_rows(torch.float32, "cuda"), make_population(plan, 4, torch.float32, "cuda")
        population, _ = generation(plan, population, rows, lambda: None)  # fills tables
        pretended.stops.clear()
        population, report = generation(plan, population, rows, lambda: None)
        assert not pretended.stops
        assert {each.device.type for each in (*population.tensors().values(), report.validation_loss)} == {"cuda"}


def test_a_pretended_device_refuses_operands_of_both_sides() -> None:
    with pretended.device():
        values = torch.zeros(3, device="cuda")
        assert values.device.type == "cuda" and values.is_cuda and not torch.zeros(3).is_cuda
        with pytest.raises(RuntimeError, match="operands on cuda:0 and cpu"):
            values + torch.zeros(3)
        assert not pretended.stops
        assert (values.sum().item(), values[values > 0].numel()) == (0, 0)
        assert values.cpu().tolist() == [0, 0, 0] and torch.tensor([1], device="cuda").is_cuda
        assert sorted(each.partition(":")[0] for each in pretended.stops.elements()) == [
            *("copied", "read", "read", "sized by data")
        ]
