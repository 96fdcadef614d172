"""A pass of the eager engine equals loops over torch modules, whatever the block."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from aecompress import rng
from aecompress.engines.base import Work
from aecompress.engines.eager import train
from aecompress.engines.training import Training, steps_per_generation
from aecompress.polling import Poll
from aecompress.population.state import Population, new_population
from tests.modules import Plain, row_of, small_net

ROWS = torch.rand(23, 12, generator=torch.Generator().manual_seed(0))
TRAINING = Training(
    seed=5,
    generations=2,
    batch=5,
    loss=lambda generation: "mse",
    optimizer="adam",
    betas=(0.9, 0.999),
    rate=lambda progress: 1.0 - progress / 2,
    persistent_masks=True,
    noise="none",
    noise_level=0.0,
)


def population(moments: bool = True, size: int = 3) -> Population:
    return new_population(small_net(), size, 5, 0.01, moments, torch.device("cpu"))


def pass_over(training: Training, block: Population, steps: range, poll: Poll = lambda: None) -> None:
    train(Work(net=small_net(), training=training, block=block, rows=ROWS, steps=steps, poll=poll))


def trained(training: Training, start: Population, cut: int = 0) -> Population:
    new = start.copy()
    count = steps_per_generation(len(ROWS), training.batch)
    for part in (range(cut), range(cut, count)):
        pass_over(training, new, part)
    return new


def test_a_pass_equals_a_loop_over_torch_modules_with_adam() -> None:
    start = population()
    got = trained(TRAINING, start)
    for cell in range(3):
        module = Plain(small_net(), start.weights[cell])
        adam = torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.9, 0.999))
        order = rng.permutation(5, "batches", 0, torch.tensor([cell]), 0, 23)[0]
        for step, index in enumerate(order.split(5)):
            adam.param_groups[0]["lr"] = 0.01 * (1 - step / 10 / 2)
            adam.zero_grad()
            functional.mse_loss(module(ROWS[index]), ROWS[index]).backward()
            adam.step()
        torch.testing.assert_close(got.weights[cell], row_of(module), rtol=1e-4, atol=1e-6)


def test_fresh_adam_equals_a_new_adam_at_every_step() -> None:
    start = population(moments=False)
    got = trained(dataclasses.replace(TRAINING, optimizer="fresh-adam"), start)
    module = Plain(small_net(), start.weights[1])
    order = rng.permutation(5, "batches", 0, torch.tensor([1]), 0, 23)[0]
    for step, index in enumerate(order.split(5)):
        adam = torch.optim.Adam(module.parameters(), lr=0.01 * (1 - step / 10 / 2))
        adam.zero_grad()
        functional.mse_loss(module(ROWS[index]), ROWS[index]).backward()
        adam.step()
    torch.testing.assert_close(got.weights[1], row_of(module), rtol=1e-4, atol=1e-5)


def test_masked_weights_and_moments_stay_exactly_zero() -> None:
    start = population()
    start.masks[:, ::3] = False
    start.weights.mul_(start.masks)
    got = trained(TRAINING, start)
    assert start.moments is not None and got.moments is not None
    for tensor in (got.weights, *got.moments):
        assert bool((tensor[:, ::3] == 0).all())
    assert bool((got.weights[:, 1::3] != start.weights[:, 1::3]).any())


def test_without_lasting_masks_momentum_moves_pruned_weights() -> None:
    start = population()
    start.masks[:, ::3] = False
    start.weights.mul_(start.masks)
    got = trained(dataclasses.replace(TRAINING, persistent_masks=False), start)
    assert float((got.weights[:, ::3] != 0).float().mean()) > 0.3


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_pass_cut_in_parts_gives_the_same_bits_and_blocks_the_same_numbers(optimizer: str) -> None:
    training = dataclasses.replace(TRAINING, optimizer=optimizer)
    start = population(moments=optimizer == "adam")
    whole = trained(training, start)
    assert torch.equal(trained(training, start, cut=2).weights, whole.weights)
    blocks = start.copy()
    for first in range(3):
        cell = blocks.places[first : first + 1]
        block = blocks.pick(cell)
        pass_over(training, block, range(5))
        blocks.put(cell, block)
    torch.testing.assert_close(blocks.weights, whole.weights, rtol=1e-4, atol=1e-6)


def test_a_generation_leaves_the_last_population_as_it_was() -> None:
    start = population()
    before = start.weights.clone()
    trained(TRAINING, start)
    assert torch.equal(start.weights, before)


def test_every_row_is_seen_once_and_the_last_batch_may_be_smaller() -> None:
    start = new_population(small_net(), 3, 5, 0.01, True, torch.device("cpu"), stats_batch=5)
    assert start.stats is not None
    pass_over(TRAINING, start, range(5))
    assert start.stats.count.tolist() == [[5, 5, 5, 4, 4]] * 3
    assert steps_per_generation(23, 5) == 5


def test_poll_is_called_before_every_batch_and_may_stop() -> None:
    def stop() -> None:
        raise InterruptedError

    start = population()
    before = start.weights.clone()
    with pytest.raises(InterruptedError):
        pass_over(TRAINING, start, range(5), stop)
    assert torch.equal(start.weights, before)


def test_noise_of_a_denoising_pass_depends_on_cell_and_step_only() -> None:
    training = dataclasses.replace(TRAINING, noise="input", noise_level=0.4)
    start = population()
    noisy = trained(training, start)
    assert torch.equal(noisy.weights, trained(training, start).weights)
    assert not torch.equal(noisy.weights, trained(TRAINING, start).weights)
