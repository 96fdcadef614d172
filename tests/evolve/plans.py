"""Small plans for the tests of the engine."""

from __future__ import annotations

from typing import Any

import torch

from aecompress.engines.base import Blocks
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Training
from aecompress.evolve.base import Neighbourhood, Plan, Report, Rows
from aecompress.evolve.generation import generation
from aecompress.evolve.operators import operator_of
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import Shape, cubic, schedule
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population, new_population
from aecompress.registry import OPERATORS, RULES
from tests.modules import small_net

SEED = 5


def make_plan(net: Autoencoder | None = None, **changes: Any) -> Plan:
    """A plan of the published ring on a 12-7-3-7-12 network; any setting can be changed by name."""
    s: dict[str, Any] = {
        "operator": "random", "schedule": "fixed", "p": 0.6, "generations": 4, "radius": 1, "asynchronous": False,
        "tournament": 2, "concept": "best", "shared_batch": False, "rule": "pair", "walk": 1e-3, "batch": 5,
        "optimizer": "fresh-adam", "persistent": False, "granularity": "weight", "target": None, "per_generation": 1,
        "loss": "l1", "block": 2, "order": "high", "noise": "none", "regrowth": 0.0, "targets": None, "cells": 4,
        "topology": "ring",
    }  # fmt: skip
    assert set(changes) <= set(s), set(changes) - set(s)
    s |= changes
    if s["operator"] in OPERATORS and OPERATORS[s["operator"]].needs == "moments":
        s["optimizer"] = "adam"
    pruning, topology = None, TOPOLOGIES[s["topology"]](s["cells"], s["radius"])
    members = len(topology.members) if RULES[s["rule"]].spatial else 1
    if s["operator"] != "none":
        shape = Shape(s["p"], s["generations"] - (0 if RULES[s["rule"]].mode == "canonical" else 1), members)
        pruning = Pruning(
            operator=operator_of(s["operator"]),
            curves=() if s["target"] is None and s["targets"] is None else (cubic(0.0, 0.75),) * s["cells"],
            targets=s["targets"] or (s["target"] or 0.0,) * s["cells"],
            probability=schedule(s["schedule"], shape) if s["target"] is None and s["targets"] is None else None,
            granularity=s["granularity"],
            persistent=s["persistent"],
            per_generation=s["per_generation"],
            regrowth=s["regrowth"],
            regrowth_end=0.75,
            amount=0.1,
            threshold=0.1,
            guide_rows=100,
            order=s["order"],
        )
    training = Training(
        seed=SEED,
        generations=s["generations"],
        batch=s["batch"],
        loss=lambda generation: s["loss"],
        optimizer=s["optimizer"],
        betas=(0.9, 0.999),
        rate=lambda progress: 1.0,
        persistent_masks=s["persistent"],
        noise=s["noise"],
        noise_level=0.4,
        walk=s["walk"],
    )
    neighbourhood = Neighbourhood(
        topology=topology,
        order="asynchronous" if s["asynchronous"] else "synchronous",
        tournament=s["tournament"],
        concept=s["concept"],
        shared_batch=s["shared_batch"],
    )
    return Plan(
        net=net or small_net(),
        training=training,
        pruning=pruning,
        rule=s["rule"],
        neighbourhood=neighbourhood,
        metric=s["loss"],
        engine=ENGINES["eager"],
        blocks=Blocks(s["block"], "operations", 1),
    )


def generations(plan: Plan, count: int, size: int = 4) -> tuple[Population, list[Report]]:
    """The population of a plan after some generations, and the report of each."""
    population, reports = make_population(plan, size), []
    for _ in range(count):
        population, report = generation(plan, population, make_rows(), lambda: None)
        reports.append(report)
    return population, reports


def make_rows(dtype: torch.dtype = torch.float64, device: str = "cpu") -> Rows:
    draws = torch.Generator().manual_seed(1)
    train, validation, guide = (torch.rand(n, 12, generator=draws, dtype=torch.float64) for n in (23, 9, 11))
    train, validation, guide = ((part > 0.5).to(device, dtype) for part in (train, validation, guide))
    return Rows(train=train, sample=train, validation=validation, validation_sample=validation, guide=guide)


def make_population(plan: Plan, size: int = 4, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Population:
    stats = plan.pruning is not None and plan.pruning.operator.needs == "stats"
    return new_population(
        plan.net, size, SEED, 0.01, plan.training.optimizer == "adam", torch.device(device), dtype=dtype,
        stats_batch=plan.training.batch if stats else 0,
    )  # fmt: skip
