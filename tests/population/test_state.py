"""The state: what is copied with an individual and what stays with its cell."""

from __future__ import annotations

import torch

from tests.evolve.plans import make_plan, make_population


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
