"""The state: what is copied with an individual and what stays with its cell."""

from __future__ import annotations

import pytest
import torch

from aecompress.population.state import PER_PARAMETER
from tests.evolve.plans import make_plan, make_population
from tests.modules import small_net


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


def test_cells_stay_and_are_carried_with_their_rates() -> None:
    population = make_population(make_plan())
    population.cells.copy_(torch.tensor([7, 8, 9, 10]))
    population.learning_rate.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert population.take(torch.tensor([3, 3, 0, 1])).cells.tolist() == [7, 8, 9, 10]
    assert population.copy().cells.tolist() == [7, 8, 9, 10]
    assert population.part(1, 3).cells.tolist() == [8, 9]
    for new in (population.pick(torch.tensor([2, 0])), population.take(torch.tensor([1, 1]), torch.tensor([2, 0]))):
        assert new.cells.tolist() == [9, 7] and new.learning_rate.tolist() == [3.0, 1.0]
    assert population.pair(torch.tensor([2, 0]), torch.tensor([1, 1]), small_net()).cells.tolist() == [9, 7]
    assert population.places.tolist() == [0, 1, 2, 3] and "cells" not in population.tensors()


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_pair_has_one_ones_encoder_and_anothers_decoder_and_goes_back(optimizer: str) -> None:
    net = small_net()
    population = make_population(make_plan(optimizer=optimizer, operator="variance"))
    named = [name for name in PER_PARAMETER if name in population.tensors()]
    assert len(named) == (4 if optimizer == "adam" else 2)
    for name in named:
        tensor = population.tensors()[name]
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(4)) > 0)
    encoders, decoders = torch.tensor([2, 0]), torch.tensor([1, 3])
    pair = population.pair(encoders, decoders, net)
    for name in named:
        mine, whole = pair.tensors()[name], population.tensors()[name]
        assert torch.equal(mine[:, : net.encoder_size], whole[encoders, : net.encoder_size])
        assert torch.equal(mine[:, net.encoder_size : net.model_size], whole[decoders, net.encoder_size :])
    pair.weights += 1
    before = population.weights.clone()
    population.put_pair(encoders, decoders, pair, net)
    moved = population.weights - before
    for cell in range(4):
        assert set(moved[cell, : net.encoder_size].tolist()) == {1.0 if cell in (2, 0) else 0.0}
        assert set(moved[cell, net.encoder_size :].tolist()) == {1.0 if cell in (1, 3) else 0.0}
