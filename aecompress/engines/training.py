"""The fixed numbers of training, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.permutation import Permutation
from aecompress.nets.rows import RowSet, StoredTensor, gather
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population

Rate = Callable[[float], float]
"""Share of the base learning rate, from the progress of the run in [0, 1)."""


EPSILON = 1e-8
"""Adam's."""


LOWEST_RATE, HIGHEST_RATE = 1e-9, 10.0
"""Bounds of a walking learning rate."""


@dataclass(frozen=True)
class Training:
    """The fixed numbers of training."""

    seed: int
    generations: int
    batch: int
    loss: Callable[[int], str]
    """Name of the training loss in a generation."""
    optimizer: str
    betas: tuple[float, float]
    rate: Rate
    persistent_masks: bool
    """Whether pruned weights stay pruned: their gradients, moments and values stay exactly 0."""
    noise: str
    """"none", "input" (denoising) or "latent" (variational)."""
    noise_level: float
    code_l1: float = 0.0
    """Factor of the penalty on the code; 0: none."""
    walk: float = 0.0
    """Standard deviation of a generation's step of each cell's learning rate; 0 leaves the rates alone."""
    products: torch.dtype | None = None
    """Number format of the matrix products where it is not that of the weights: bfloat16."""
    tf32: bool = False
    """Whether a CUDA device may round what it multiplies to TF32."""


@contextmanager
def rounding(training: Training) -> Iterator[None]:
    """Let a CUDA device round the operands of products to TF32 inside, if training allows it; not in evaluations."""
    before = torch.backends.cuda.matmul.fp32_precision
    if training.tf32:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def steps_per_generation(rows: int, batch: int) -> int:
    """Return the batches of one pass over ``rows`` training rows; the last batch may be smaller."""
    return -(-rows // batch)


def row_order(training: Training, generation: int, keys: Tensor, rows: RowSet) -> Tensor | Permutation:
    """Draw the order in which each of K passes over ``rows`` ``[N, D]`` takes them, int64 ``[K, N]``.

    Of many rows that are not in memory, only a stretch of it is.

    Args:
        keys: int64 ``[K]``: the cells of the passes, or the numbers of their pairs.
    """
    if isinstance(rows, StoredTensor):
        return Permutation(rng.keys(training.seed, "batches", generation, keys, 0), len(rows))
    return rng.permutation(training.seed, "batches", generation, keys, 0, rows.shape[0])


def batch_of(training: Training, rows: RowSet, order: Tensor | Permutation, step: int) -> Tensor:
    """Return batch ``step`` of passes in ``order`` ``[K, N]`` over ``rows`` ``[N, D]``: dense ``[K, B, D]``."""
    return gather(rows, order[:, step * training.batch : (step + 1) * training.batch])


def step_size(training: Training, step: int, steps: int) -> tuple[float, float]:
    """Return step size, as a share of a cell's rate, and epsilon, of step ``step`` (from 0) of a run of ``steps``.

    Adam's two bias corrections are folded into them (Kingma and Ba 2015, end of section 2); a fresh Adam has none.
    """
    rate = training.rate(step / steps)
    if training.optimizer == "fresh-adam":
        return rate, EPSILON
    beta1, beta2 = training.betas
    correction = math.sqrt(1 - beta2 ** (step + 1))
    return rate * correction / (1 - beta1 ** (step + 1)), EPSILON * correction


def walk_rates(training: Training, population: Population) -> None:
    """Let every cell's learning rate take a random step once a generation is complete (ALGORITHMS A4.7). In place."""
    if training.walk:
        rates = population.learning_rate
        step = rng.normal(training.seed, "rate-walk", population.generation - 1, population.cells, 0, ())
        rates.add_(step.to(rates.dtype), alpha=training.walk).clamp_(LOWEST_RATE, HIGHEST_RATE)


class Step(NamedTuple):
    """Which update of a pass."""

    number: int
    """The batch's."""
    of: int
    """Batches of a pass."""
    turn: int
    """Which of the batch's two updates."""


def draw_noise(
    net: Autoencoder, training: Training, generation: int, cells: Tensor, step: int, batch: Tensor
) -> Tensor | None:
    """Draw the batch's noise: ``[P, B, D]`` for denoising, ``[P, B, latent]`` for variational, else None."""
    if training.noise == "none":
        return None
    width = batch.shape[2] if training.noise == "input" else net.latent
    shape = (batch.shape[1], width)
    return rng.normal(training.seed, "noise", generation, cells, step, shape).to(batch.dtype)
