"""Regrowth: what comes back is what the gradients of single modules ask for, and nothing else changes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aecompress.evolve import regrowth
from aecompress.evolve.base import Plan
from aecompress.evolve.evidence import Evidence
from aecompress.evolve.pruning import Pruning, evidence_of, prune_to
from aecompress.evolve.select import hidden_layers, keep_units, keep_weights, removed_units, split_hidden
from aecompress.nets.layers import forward
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population
from tests.evolve.plans import make_plan, make_population, make_rows
from tests.modules import Plain, mirrored, row_of

DEEP = mirrored((9, 8), 4, 12, hidden_activation="tanh")


def pruned(operator: str, net: Autoencoder | None = None, units: bool = False) -> tuple[Plan, Population, Evidence]:
    """Three cells under Adam, two thirds pruned, and what is seen of them."""
    plan, rows = (
        make_plan(net, operator=operator, optimizer="adam", persistent=True, target=0.5, loss="mse"),
        make_rows(),
    )
    population = make_population(plan, 3)
    draws = torch.Generator().manual_seed(2)
    counts = [plan.net.model_size * 2 // 3] * 3
    if units:
        scores = torch.rand(3, sum(layer.outputs for layer in plan.net.layers), generator=draws)
        masks = keep_units(plan.net, scores, population.masks, counts)
    else:
        masks = keep_weights(plan.net, torch.rand(3, plan.net.model_size, generator=draws), population.masks, counts)
    population.masks.copy_(masks)
    population.weights.mul_(masks)
    moment_of(population).copy_(torch.rand(masks.shape, generator=draws, dtype=torch.float64) * masks)
    assert plan.pruning is not None
    guide = (rows.train, rows.guide)
    return plan, population, evidence_of(plan.net, plan.pruning, plan.training, population, guide, 0)


def moment_of(population: Population) -> Tensor:
    assert population.moments is not None
    return population.moments[1]


def test_the_share_falls_from_its_start_to_nothing_at_the_end() -> None:
    values = [regrowth.share_at(0.3, 0.8, step / 100) for step in range(101)]
    assert values[0] == 0.3
    assert values == sorted(values, reverse=True)
    assert values[40] == pytest.approx(0.3 * (1 + math.cos(math.pi / 2)) / 2)
    assert values[80:] == [0.0] * 21


def settings(plan: Plan, **changes: Any) -> Pruning:
    assert plan.pruning is not None
    return dataclasses.replace(plan.pruning, **changes)


@pytest.mark.parametrize("exchanged", [0.2, 0.4])
def test_weights_give_way_by_score_and_come_back_by_the_gradient_of_a_single_module(exchanged: float) -> None:
    plan, population, evidence = pruned("magnitude")
    before, old, weights = population.masks.clone(), moment_of(population).clone(), population.weights.clone()
    size = plan.net.model_size
    counts = [size * 2 // 3 + 4, size * 2 // 3, size * 3 // 4]
    prune_to(plan.net, settings(plan), population, evidence, counts, exchanged)
    for cell, count in enumerate(counts):
        module, rows = Plain(plan.net, weights[cell]), evidence.batch()[cell]
        nn.functional.mse_loss(module(rows), rows).backward()
        gradient = row_of(module, grad=True).abs()
        kept = size - count - round(exchanged * (size - count))
        stays = set(weights[cell].abs().argsort(descending=True)[:kept].tolist())
        rest = sorted(set(range(size)) - stays, key=lambda at: -float(gradient[at]))
        expected = torch.zeros(size, dtype=torch.bool)
        expected[sorted(stays) + rest[: size - count - kept]] = True
        assert torch.equal(population.masks[cell], expected)
        assert torch.equal(population.weights[cell], weights[cell] * expected)
        new = expected & ~before[cell]
        assert bool(new.any())
        moments = moment_of(population)[cell]
        assert torch.equal(moments[~new], (old[cell] * expected)[~new])
        for slot in plan.net.layout.slots.values():
            place = slice(slot.offset, slot.offset + slot.size)
            if bool(new[place].any()) and bool(before[cell][place].any()):
                mean = old[cell][place][before[cell][place]].mean()
                torch.testing.assert_close(moments[place][new[place]], mean.expand(int(new[place].sum())))


@pytest.mark.parametrize("net", [None, DEEP], ids=["shallow", "deep"])
def test_removed_units_are_asked_for_by_the_gradients_they_would_have(net: Autoencoder | None) -> None:
    plan, population, evidence = pruned("magnitude", net, units=True)
    net, rows = plan.net, make_rows().validation.expand(3, -1, -1)
    dead = removed_units(net, population.masks)
    scores, fresh = regrowth.units(evidence, population.masks)
    out = forward(net.layers, evidence.views, rows).out[-1]
    alike = forward(net.layers, net.layout.views(population.weights + fresh), rows).out[-1]
    assert torch.equal(out, alike)
    assert bool((fresh[population.masks] == 0).all())
    asked = dict(zip(net.layers, net.split_units(scores), strict=True))
    for (layer, reader), gone in zip(hidden_layers(net), split_hidden(net, dead), strict=True):
        for cell in range(3):
            module, batch = Plain(net, (population.weights + fresh)[cell]), evidence.batch()[cell]
            nn.functional.mse_loss(module(batch), batch).backward()
            linears = dict(zip(net.layers, [*module.encoder, *module.decoder], strict=True))
            gradient = linears[reader].weight.grad
            assert gradient is not None
            torch.testing.assert_close(asked[layer][cell], torch.linalg.vector_norm(gradient, dim=0))
            drawn = linears[layer].weight.detach()[gone[cell]]
            assert not len(drawn) or 0 < float(drawn.abs().max()) <= layer.inputs**-0.5


def test_units_come_back_whole_with_fresh_inputs_and_silent_outputs() -> None:
    plan, population, evidence = pruned("magnitude", DEEP, units=True)
    before, weights = removed_units(DEEP, population.masks), population.weights.clone()
    pruning = settings(plan, granularity="unit")
    prune_to(DEEP, pruning, population, evidence, [DEEP.model_size // 2] * 3, 0.5)
    now, views = removed_units(DEEP, population.masks), DEEP.layout.views(population.weights)
    came = before & ~now
    assert bool(came.any()) and bool((~before & now).any())
    for (layer, reader), back in zip(hidden_layers(DEEP), split_hidden(DEEP, came), strict=True):
        for cell in range(3):
            assert bool((views[reader.name + ".weight"][cell][back[cell]] == 0).all())
            assert bool((views[layer.name + ".bias"][cell, 0][back[cell]] != 0).all())
    stayed = population.masks & (weights != 0)
    assert torch.equal(population.weights[stayed], weights[stayed])
    zeros = (~population.masks).sum(1)
    assert bool((zeros >= DEEP.model_size // 2).all())
