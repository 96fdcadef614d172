"""Training that rounds weights: set part by part, then straight-through; what it leaves is rounded."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aecompress import rng
from aecompress.engines import quantized as module
from aecompress.engines.base import PairWork, Work
from aecompress.engines.quantized import Quantization, Quantized
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Training
from aecompress.nets.codebooks import codebooks, kept_tensors, rounded
from aecompress.population.state import Population, new_population
from tests.engines.test_eager import ROWS, TRAINING
from tests.modules import Plain, row_of, small_net

NET, VALUES = small_net(), (4, 2, 8, 4)
STEPS = 5
"""Of a pass."""


def engine() -> Quantized:
    return Quantized(ENGINES["eager"], Quantization(values=VALUES, start=0))


def start(cells: int = 3) -> Population:
    population = new_population(NET, cells, 5, 0.01, True, torch.device("cpu"), values=max(VALUES))
    population.masks[:, 1::3] = False
    population.weights *= population.masks
    return population


def passed(training: Training, population: Population, generation: int = 0, cut: int = 0) -> Population:
    new = population.copy()
    new.generation = generation
    for steps in (range(cut), range(cut, STEPS)):
        if steps:
            work = Work(net=NET, training=training, block=new, rows=ROWS, steps=steps, poll=lambda: None)
            engine().train(work)
    return new


def set_share(population: Population) -> list[float]:
    """The share of each individual's kept weights that have a value of their codebooks."""
    kept = kept_tensors(NET, population.masks, VALUES)
    assert population.levels is not None
    books, found = population.levels.flatten(0, 1)[kept.owners], kept.of(population.weights)
    same = (books == found[:, None]).any(1)
    cells = kept.places // NET.layout.size
    return [float(same[cells == cell].double().mean()) for cell in range(len(population))]


def test_a_pass_is_adam_on_the_gradient_at_the_rounded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle: torch's autograd through w + (q - w).detach(), and torch's Adam."""
    monkeypatch.setattr(module, "SETTING", 0.0)
    begun = start()
    got = passed(TRAINING, begun)
    assert got.levels is not None
    for cell in range(3):
        plain = Plain(NET, begun.weights[cell])
        linears = [*plain.encoder, *plain.decoder]
        masks = [(linear.weight != 0).float() for linear in linears]
        kept = [(linear.bias != 0).float() for linear in linears]
        adam = torch.optim.Adam(plain.parameters(), lr=0.01, betas=(0.9, 0.999))
        for step, index in enumerate(rng.permutation(5, "batches", 0, torch.tensor([cell]), 0, 23)[0].split(5)):
            adam.param_groups[0]["lr"] = 0.01 * module.THROUGH_RATE * (1 + np.cos(np.pi * step / 10)) / 2
            adam.zero_grad()
            below: Tensor = ROWS[index]
            for number, (linear, layer, mask, bias) in enumerate(zip(linears, NET.layers, masks, kept, strict=True)):
                book = got.levels[cell, number, : VALUES[number]]
                near = book[(linear.weight.detach()[..., None] - book).abs().argmin(-1)] * mask
                through = linear.weight * mask + (near - linear.weight * mask).detach()
                below = functional.linear(below, through, linear.bias * bias)
                below = {"relu": torch.relu, "sigmoid": torch.sigmoid}[layer.activation](below)
            functional.mse_loss(below, ROWS[index]).backward()
            adam.step()
        torch.testing.assert_close(got.weights[cell], row_of(plain), rtol=1e-4, atol=1e-5)
        assert torch.equal(got.masks, begun.masks)


def test_codebooks_are_those_of_the_weights_at_the_start_and_stay() -> None:
    begun = start()
    kept = kept_tensors(NET, begun.masks, VALUES)
    first = passed(TRAINING, begun)
    assert first.levels is not None
    assert torch.equal(first.levels.flatten(0, 1), codebooks(kept, kept.of(begun.weights)))
    second = passed(TRAINING, first, 1)
    assert torch.equal(second.levels, first.levels)


def test_weights_are_set_the_nearest_first_and_stay_while_others_learn() -> None:
    training, begun = dataclasses.replace(TRAINING, generations=4), start()
    parts = list(itertools.accumulate(range(3), lambda last, at: passed(training, last, at), initial=begun))[1:]
    shares = [set_share(part) for part in parts]
    assert 0.5 < min(shares[0]) <= max(shares[0]) < min(shares[1]) < 1 and min(shares[1]) < 0.97
    kept = kept_tensors(NET, begun.masks, VALUES)
    assert parts[0].levels is not None
    values = parts[0].levels.flatten(0, 1)[kept.owners]
    before, after = kept.of(parts[0].weights), kept.of(parts[1].weights)
    set_before = (values == before[:, None]).any(1)
    assert torch.equal(before[set_before], after[set_before])
    assert float((before != after)[~set_before].double().mean()) > 0.8
    assert parts[0].moments is not None
    assert all(not kept.of(moment)[set_before].any() for moment in parts[0].moments)


def test_the_last_pass_leaves_the_rounded_weights_and_what_is_pruned_stays_so() -> None:
    before = passed(TRAINING, start(), 0)
    after = passed(TRAINING, before, 1)
    assert before.levels is not None and after.levels is not None
    assert not torch.equal(rounded(NET, before.weights, before.levels, VALUES), before.weights)
    assert torch.equal(rounded(NET, after.weights, after.levels, VALUES), after.weights)
    assert torch.equal(after.weights != 0, after.masks)
    assert set_share(after) == [1.0] * 3


def test_a_pass_in_parts_and_a_block_of_one_give_the_same() -> None:
    begun = start()
    whole = passed(TRAINING, passed(TRAINING, begun), 1)
    cut = passed(TRAINING, passed(TRAINING, begun, cut=2), 1, cut=4)
    torch.testing.assert_close(cut.weights, whole.weights)
    for cell in range(3):
        alone = passed(TRAINING, passed(TRAINING, begun.part(cell, cell + 1)), 1)
        torch.testing.assert_close(alone.weights[0], whole.weights[cell])


def test_the_rate_rises_to_the_peak_at_the_start_falls_and_ends_at_nothing() -> None:
    rounding, training = Quantization(values=VALUES, start=8), dataclasses.replace(TRAINING, generations=10)
    rates = [rounding.rate(training, 0.8 + 0.2 * at / 100) for at in range(101)]
    assert rates[0] == pytest.approx(module.SETTING_RATES[0]) and rates[100] == pytest.approx(0, abs=1e-9)
    assert rates == sorted(rates, reverse=True)
    assert rates[66] < module.THROUGH_RATE < module.SETTING_RATES[1] < rates[64]


def test_products_in_half_precision_and_fresh_moments_end_on_the_values_too() -> None:
    half = dataclasses.replace(TRAINING, products=torch.bfloat16)
    fresh = dataclasses.replace(TRAINING, optimizer="fresh-adam")
    for training, moments in ((half, True), (fresh, False)):
        begun = start()
        begun.moments = begun.moments if moments else None
        after = passed(training, passed(training, begun), 1)
        assert set_share(after) == [1.0] * 3


def test_pairs_that_change_partners_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="rounds weights"):
        engine().train_pairs(PairWork.__new__(PairWork))
    assert engine().name == "eager" and engine().scratch_bytes(10, 4, 2) == 10 * 68
