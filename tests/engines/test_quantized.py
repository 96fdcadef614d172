"""Training with rounded weights is the straight-through estimator, and ends on what it trained with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aecompress import rng
from aecompress.engines.base import PairWork, Work
from aecompress.engines.quantized import Quantized
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Training
from aecompress.nets.codebooks import rounded
from aecompress.population.state import Population, new_population
from tests.engines.test_eager import ROWS, TRAINING
from tests.modules import Plain, row_of, small_net

NET, BITS = small_net(), (2, 1, 3, 2)
ENGINE = Quantized(ENGINES["eager"], BITS)


def start(cells: int = 3) -> Population:
    population = new_population(NET, cells, 5, 0.01, True, torch.device("cpu"))
    population.masks[:, 1::3] = False
    population.weights *= population.masks
    return population


def passed(training: Training, population: Population, generation: int = 0) -> Population:
    new = population.copy()
    new.generation = generation
    steps = range(-(-len(ROWS) // training.batch))
    ENGINE.train(Work(net=NET, training=training, block=new, rows=ROWS, steps=steps, poll=lambda: None))
    return new


class Book:
    """Lloyd's method, weight by weight."""

    def __init__(self, weights: np.ndarray, count: int) -> None:
        ordered = np.sort(weights[weights != 0])
        self.values = ordered[((np.arange(count) + 0.5) / count * len(ordered)).astype(int)]
        for _ in range(40):
            self.step(weights)

    def step(self, weights: np.ndarray) -> np.ndarray:
        """Fit the values to the weights near them; returns the rounded weights."""
        nearest = np.abs(weights[..., None] - self.values).argmin(-1)
        for code in range(len(self.values)):
            mine = weights[(nearest == code) & (weights != 0)]
            self.values[code] = mine.mean() if len(mine) else self.values[code]
        return np.where(weights != 0, self.values[nearest], 0)


def test_a_pass_is_adam_on_the_gradient_at_the_rounded_weights() -> None:
    """The oracle: torch's autograd through w + (q - w).detach(), torch's Adam, and codebooks in a loop."""
    begun = start()
    got = passed(TRAINING, begun)
    for cell in range(3):
        module = Plain(NET, begun.weights[cell])
        linears = [*module.encoder, *module.decoder]
        masks = [(linear.weight != 0).float() for linear in linears]
        kept = [(linear.bias != 0).float() for linear in linears]
        flat = [linear.weight.detach().double().numpy() for linear in linears]
        books = [Book(weights, 2**bits) for weights, bits in zip(flat, BITS, strict=True)]
        near = [
            np.where(w != 0, b.values[np.abs(w[..., None] - b.values).argmin(-1)], 0)
            for w, b in zip(flat, books, strict=True)
        ]
        adam = torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.9, 0.999))
        for step, index in enumerate(rng.permutation(5, "batches", 0, torch.tensor([cell]), 0, 23)[0].split(5)):
            adam.param_groups[0]["lr"] = 0.01 * (1 - step / 10 / 2)
            adam.zero_grad()
            below: Tensor = ROWS[index]
            for linear, layer, mask, bias, value in zip(linears, NET.layers, masks, kept, near, strict=True):
                through = linear.weight * mask + (torch.from_numpy(value).float() - linear.weight * mask).detach()
                below = functional.linear(below, through, linear.bias * bias)
                below = {"relu": torch.relu, "sigmoid": torch.sigmoid}[layer.activation](below)
            functional.mse_loss(below, ROWS[index]).backward()
            adam.step()
            near = [
                book.step(linear.weight.detach().double().numpy() * mask.numpy())
                for book, linear, mask in zip(books, linears, masks, strict=True)
            ]
        torch.testing.assert_close(got.weights[cell], row_of(module), rtol=1e-4, atol=1e-5)
        assert torch.equal(got.masks, begun.masks)


def test_the_last_pass_leaves_the_rounded_weights_and_what_is_pruned_stays_so() -> None:
    before = passed(TRAINING, start(), 0)
    after = passed(TRAINING, before, 1)
    assert not torch.equal(rounded(NET, before.weights, BITS), before.weights)
    assert torch.equal(rounded(NET, after.weights, BITS), after.weights)
    assert torch.equal(after.weights != 0, after.masks)
    evaluated = ENGINE.evaluate(NET, before.weights, [ROWS], "mse", lambda: None)
    plain = ENGINES["eager"].evaluate(NET, rounded(NET, before.weights, BITS), [ROWS], "mse", lambda: None)
    assert torch.equal(evaluated.losses[0], plain.losses[0])
    assert torch.equal(evaluated.layer_zeros, plain.layer_zeros)


def test_a_block_of_one_gives_the_bits_of_a_block_of_many() -> None:
    begun = start()
    together = passed(TRAINING, begun, 1)
    for cell in range(3):
        torch.testing.assert_close(passed(TRAINING, begun.part(cell, cell + 1), 1).weights[0], together.weights[cell])


def test_products_in_half_precision_see_rounded_weights() -> None:
    half = passed(dataclasses.replace(TRAINING, products=torch.bfloat16), start(), 1)
    assert torch.equal(rounded(NET, half.weights, BITS), half.weights)
    torch.testing.assert_close(half.weights, passed(TRAINING, start(), 1).weights, rtol=0.2, atol=0.05)


def test_pairs_that_change_partners_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="rounds weights"):
        ENGINE.train_pairs(PairWork.__new__(PairWork))
    assert ENGINE.name == "eager" and ENGINE.scratch_bytes(10, 4, 2) == 10 * 52
