"""Networks, rules and populations for the tests of compiled training."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from aecompress.engines import eager
from aecompress.engines.base import Work
from aecompress.engines.numba import engine
from aecompress.engines.training import Training, steps_per_generation
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population, new_population
from tests.modules import mirrored

CPU = torch.device("cpu")
ROWS = (torch.rand(103, 50, generator=torch.Generator().manual_seed(2)) > 0.4).float()
NOTHING = lambda: None  # noqa: E731


def net_of(latent: str = "relu", output: str = "sigmoid", hidden: str = "relu", size: int = 17) -> Autoencoder:
    return mirrored((size,), 5, ROWS.shape[1], hidden_activation=hidden, latent_activation=latent, output=output)


def rules(optimizer: str, **changes: Any) -> Training:
    base = Training(
        seed=1,
        generations=4,
        batch=6,
        loss=lambda generation: "mse",
        optimizer=optimizer,
        betas=(0.9, 0.999),
        rate=lambda progress: 1.0 - progress,
        persistent_masks=optimizer == "adam",
        noise="none",
        noise_level=0.0,
    )
    return dataclasses.replace(base, **changes)


def start(net: Autoencoder, optimizer: str, size: int = 3, batch: int = 6) -> Population:
    rate = 1e-3 if optimizer == "adam" else 1e-4
    population = new_population(net, size, 1, rate, optimizer == "adam", CPU, stats_batch=batch)
    population.masks[:] = torch.rand(population.masks.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    population.weights.mul_(population.masks)
    return population


def work_of(
    net: Autoencoder,
    rule: Training,
    block: Population,
    *,
    steps: range | None = None,
    rows: RowSet = ROWS,
) -> Work:
    """Steps of a pass for the block, by default all."""
    steps = range(steps_per_generation(len(rows), rule.batch)) if steps is None else steps
    return Work(net, rule, block, rows, steps, NOTHING)


def eager_pass(net: Autoencoder, rule: Training, population: Population, **parts: Any) -> Population:
    """A copy of the population after a pass of the eager engine, or of ``parts`` in its place."""
    block = population.pick(population.cells)
    eager.train(work_of(net, rule, block), **parts)
    return block


def compiled_pass(net: Autoencoder, rule: Training, population: Population, rows: RowSet = ROWS) -> Population:
    """A copy of the population after a compiled pass."""
    block = population.pick(population.cells)
    engine.train(work_of(net, rule, block, rows=rows))
    return block


def assert_equal(got: Population, wanted: Population, tolerance: float = 3e-4) -> None:
    for name, tensor in wanted.tensors().items():
        if name == "fitness":  # not yet measured: infinite
            continue
        other = got.tensors()[name].double()
        scale = max(float(tensor.double().abs().max()), 1e-12)
        assert float((other - tensor.double()).abs().max()) < tolerance * scale, name
