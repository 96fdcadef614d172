"""Every kind under every operator, at both granularities, in both modes: what is pruned stays so."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from aecompress.deploy import compact, reference
from aecompress.deploy.compact import chain_of
from aecompress.evolve.base import Rows
from aecompress.evolve.generation import generation
from aecompress.evolve.select import most_unit_zeros, removed_units
from aecompress.layers.kinds import KINDS
from aecompress.nets.autoencoder import tensors_of
from aecompress.registry import OPERATORS
from tests.evolve.plans import make_plan, make_population
from tests.layers.chains import CHAINS

GRANULARITIES = ("weight", "unit")
MODES: dict[str, dict[str, Any]] = {"canonical": {"rule": "alone"}, "coevo": {"rule": "dominance"}}
GENERATIONS, CELLS, TARGET = 3, 3, 0.5
WHOLE = list(product(CHAINS, OPERATORS, GRANULARITIES, MODES))
TOYS = {"gain", "maxout", "pointwise"}


def quick(number: int) -> bool:
    """A part of the table in which every kind, operator, granularity and mode is: a step that divides none of them."""
    return number % 25 == 0


CASES = [
    pytest.param(*case, marks=[] if quick(number) else [pytest.mark.slow], id="-".join(case))
    for number, case in enumerate(WHOLE)
]


def test_the_table_has_every_kind_and_its_quick_part_every_row() -> None:
    kinds = {layer.kind for chain in CHAINS.values() for layer in chain.net().layers}
    dropped = {"flatten", "unflatten"}  # dense layers take their place: tests/plan/test_written
    assert kinds | dropped == set(KINDS) - TOYS
    some = [case for number, case in enumerate(WHOLE) if quick(number)]
    for column, names in enumerate((CHAINS, OPERATORS, GRANULARITIES, MODES)):
        assert {case[column] for case in some} == set(names)


def rows_of() -> Rows:
    draws = torch.Generator().manual_seed(1)
    train, validation, guide = (torch.rand(count, 12, generator=draws) for count in (20, 8, 8))
    return Rows(train=train, sample=train, validation=validation, validation_sample=validation, guide=guide)


@pytest.mark.parametrize(("kind", "operator", "granularity", "mode"), CASES)
def test_a_network_of_the_kind_is_pruned_to_its_target_and_compacted(
    kind: str, operator: str, granularity: str, mode: str
) -> None:
    net = CHAINS[kind].net()
    target = TARGET if granularity == "weight" else most_unit_zeros(net) / net.model_size / 2
    cells = CELLS if mode == "coevo" else 1
    targets = (0.0, target / 2, target) if mode == "coevo" else (target,)
    plan = make_plan(
        net, operator=operator, granularity=granularity, generations=GENERATIONS, targets=targets, cells=cells,
        persistent=True, optimizer="adam", loss="mse", regrowth=0.3 if granularity == "weight" else 0.0,
        per_generation=2, **MODES[mode],
    )  # fmt: skip
    population, rows = make_population(plan, cells, torch.float32), rows_of()
    for _ in range(GENERATIONS):
        population, report = generation(plan, population, rows, lambda: None)
    assert bool(report.train_loss.isfinite().all())
    wanted, kept = round(target * net.model_size), population.masks[-1, : net.model_size]
    weights = population.weights[-1, : net.model_size]
    assert not weights[~kept].any() and int((~kept).sum()) >= wanted
    if granularity == "weight":
        assert int((~kept).sum()) == wanted
        for layer in net.weighted:
            assert bool(net.layout.views(population.masks)[layer.name + ".weight"][-1].any()), layer.name
    else:
        assert bool(removed_units(net, population.masks[-1:])[0].any())
    tensors = {name: tensor.numpy() for name, tensor in tensors_of(net, population.weights[-1]).items()}
    given = rows.validation.numpy().reshape(-1, *net.shape)
    small, right = compact.compact(chain_of(net.layers, tensors)), reference.run(net.layers, tensors, given)
    np.testing.assert_allclose(compact.run(small, given), right, rtol=1e-4, atol=1e-5)
    assert sum(one.weight.size for one in small.layers) <= net.model_size
