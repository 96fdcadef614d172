"""Regrowth: what comes back is what the gradients of single modules ask for, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aecompress.evolve import regrowth
from aecompress.evolve.operators import Evidence
from aecompress.evolve.population import Population
from aecompress.evolve.select import keep_units, keep_weights, removed_units, split_hidden
from aecompress.nets.autoencoder import Autoencoder, build
from aecompress.nets.layers import forward
from aecompress.spec import ModelSpec
from tests.evolve.plans import make_plan, make_population, make_rows
from tests.modules import Plain, row_of

DEEP = build(ModelSpec(hidden=(9, 8), latent=4, activation="tanh", latent_activation="identity", output="sigmoid"), 12)


def pruned(net: Autoencoder | None = None, units: bool = False) -> tuple[Population, Evidence]:
    """Three cells under Adam, two thirds pruned, and what is seen of them."""
    plan, rows = make_plan(net, optimizer="adam", lasting=True, target=0.5, loss="mse"), make_rows()
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
    assert population.moments is not None
    population.moments[1].copy_(torch.rand(masks.shape, generator=draws, dtype=torch.float64) * masks)
    evidence = Evidence(plan.net, population.weights, 5, 3, 0, population.cells, rows=rows.train, loss="mse")
    return population, evidence


def test_the_share_falls_from_its_start_to_nothing_at_the_end() -> None:
    values = [regrowth.share_at(0.3, 0.8, step / 100) for step in range(101)]
    assert values[0] == 0.3
    assert values == sorted(values, reverse=True)
    assert values[40] == pytest.approx(0.3 * (1 + math.cos(math.pi / 2)) / 2)
    assert values[80:] == [0.0] * 21


def test_weights_come_back_by_the_gradient_of_a_single_module() -> None:
    population, evidence = pruned()
    before, old = population.masks.clone(), population.moments[1].clone()  # type: ignore[index]
    scores = torch.rand(3, evidence.net.model_size)
    masks, ranked = regrowth.weights(evidence, population, scores, [5, 0, 12])
    assert torch.equal(population.masks, before)
    for cell, count in enumerate([5, 0, 12]):
        module, rows = Plain(evidence.net, population.weights[cell]), evidence.batch()[cell]
        nn.functional.mse_loss(module(rows), rows).backward()
        size = row_of(module, grad=True).abs().masked_fill(before[cell], 0)
        back = masks[cell] & ~before[cell]
        assert set(back.nonzero().flatten().tolist()) == set(size.argsort(descending=True)[:count].tolist())
        assert bool((ranked[cell][back] == torch.inf).all())
        assert torch.equal(ranked[cell][~back], scores[cell][~back])
        moments = population.moments[1][cell]  # type: ignore[index]
        assert torch.equal(moments[~back], old[cell][~back])
        for slot in evidence.net.layout.slots.values():
            place = slice(slot.offset, slot.offset + slot.size)
            if bool(back[place].any()) and bool(before[cell][place].any()):
                expected = old[cell][place][before[cell][place]].mean()
                torch.testing.assert_close(moments[place][back[place]], expected.expand(int(back[place].sum())))


def test_a_weight_without_a_gradient_does_not_come_back() -> None:
    population, evidence = pruned()
    gone = int((~population.masks).sum(1)[0])
    silent = int((evidence.gradients()[0] == 0)[~population.masks[0]].sum())
    assert silent
    masks, _ = regrowth.weights(evidence, population, torch.zeros(3, evidence.net.model_size), [gone] * 3)
    assert int((~masks[0]).sum()) == silent


@pytest.mark.parametrize("net", [None, DEEP], ids=["shallow", "deep"])
def test_units_come_back_with_fresh_inputs_and_the_function_stays(net: Autoencoder | None) -> None:
    population, evidence = pruned(net, units=True)
    net = evidence.net
    before, rows = population.masks.clone(), make_rows().validation
    out = forward(net.layers, evidence.views, rows.expand(3, -1, -1)).out[-1]
    dead = removed_units(net, before)
    counts = [2, 0, int(dead[2].sum())]
    scores = torch.rand(3, sum(layer.outputs for layer in net.layers))
    masks, ranked = regrowth.units(evidence, population, scores, counts)
    assert torch.equal(forward(net.layers, evidence.views, rows.expand(3, -1, -1)).out[-1], out)
    now = removed_units(net, masks)
    came = (dead & ~now).sum(1).tolist()
    assert came == counts if net is DEEP else came[:2] == counts[:2] and came[2] <= counts[2]  # relu may leave none
    assert not bool((now & ~dead).any())
    assert bool((before & ~masks).sum() == 0)
    assert bool((population.weights[~masks] == 0).all())
    assert int((ranked[0] == torch.inf).sum()) == 2
    for layer, back in zip([one for one in net.layers if one.name in ("encoder.0", "decoder.0")],
                           [split_hidden(net, dead & ~now)[i] for i in (0, len(split_hidden(net, dead)) // 2)],
                           strict=True):  # fmt: skip
        fresh = net.layout.views(population.weights)[layer.name + ".weight"].abs()
        for cell in range(3):
            assert float(fresh[cell][:, back[cell]].sum()) > 0 or not bool(back[cell].any())
            assert float(fresh[cell].max()) <= 1 / layer.inputs**0.5
    assert net is not DEEP or bool(masks[2].all())
