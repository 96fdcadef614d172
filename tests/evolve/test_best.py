from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.evolve.best import DOUBT
from aecompress.evolve.generation import generation
from aecompress.nets.autoencoder import reconstruction_loss
from aecompress.nets.losses import finite_or_inf
from aecompress.population.state import Best, Population
from tests.evolve.plans import make_plan, make_population, make_rows

GENERATIONS = 8


def with_best(population: Population) -> Population:
    weights = population.weights
    best = Best(torch.zeros_like(weights), torch.ones_like(weights, dtype=torch.bool), population.fitness.clone())
    return dataclasses.replace(population, best=best)


def test_a_cell_ends_as_the_best_of_its_first_and_its_late_generations() -> None:
    plan = make_plan(
        rule="alone", operator="none", optimizer="adam", persistent=True, generations=GENERATIONS, walk=0.0, loss="mse"
    )
    rows, states = make_rows(), [make_population(plan)]
    states[0].learning_rate.copy_(torch.tensor([5.0, 3e-3, 0.3, 0.1]))
    population = with_best(states[0])
    for _ in range(GENERATIONS):
        states.append(generation(plan, states[-1], rows, lambda: None)[0])  # without: the last generation
        population, report = generation(plan, population, rows, lambda: None)
    late = [states[0], *(state for state in states if state.generation >= 0.75 * GENERATIONS)]
    losses = torch.stack(
        [
            finite_or_inf(reconstruction_loss(plan.net, plan.net.layout.views(one.weights), rows.validation, "mse"))
            for one in late
        ]
    )
    losses_first = losses[0] * (1 - DOUBT / len(rows.validation) ** 0.5)
    found = torch.cat([losses_first[None], losses[1:]]).argmin(0)
    assert found[0] == 0 and found[3] > 0
    for cell, at in enumerate(found.tolist()):
        assert torch.equal(population.weights[cell], late[at].weights[cell])
    torch.testing.assert_close(population.fitness, losses.gather(0, found[None])[0])
    torch.testing.assert_close(report.validation_loss, losses.gather(0, found[None])[0])


@pytest.mark.parametrize("rule", ["alone", "dominance"])
def test_only_generations_with_all_their_zeros_count(rule: str) -> None:
    targets = (0.0, 0.3, 0.6, 0.8)
    plan = make_plan(
        rule=rule, operator="magnitude", optimizer="adam", persistent=True, generations=GENERATIONS, walk=0.0,
        targets=targets, loss="mse",
    )  # fmt: skip
    rows, population = make_rows(), with_best(make_population(plan))
    population.learning_rate.fill_(0.5)  # so high that the last generation is seldom the best
    first = population.weights[0].clone()
    for _ in range(GENERATIONS):
        population, report = generation(plan, population, rows, lambda: None)
    assert torch.equal(population.weights[0], first)  # the only one whose first weights count
    size = plan.net.model_size
    zeros = (population.weights[:, :size] == 0).sum(1).tolist()
    assert zeros == report.layer_zeros.sum(1).tolist()
    assert all(count >= round(target * size) for count, target in zip(zeros, targets, strict=True))
    assert torch.equal(population.weights != 0, population.masks)
    assert not population.moments or not population.moments[0][~population.masks].any()
