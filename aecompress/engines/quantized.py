"""Quantization-aware training: the products see weights that take few values, the update moves those behind them.

The gradient at the rounded weights is that of the weights behind them, as if rounding were the identity: the
straight-through estimator (Bengio, Léonard and Courville, 2013; Courbariaux, Bengio and David, "BinaryConnect", 2015).
Masks hold as ever. At each step every codebook is fitted to the weights as they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Evaluation, PairWork, Runner, Work
from aecompress.engines.training import Training, rounding, steps_per_generation
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.codebooks import assigned, codebooks, kept_weights, put, refitted, rounded
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.polling import Poll
from aecompress.population.state import Population


def train(work: Work, bits: Sequence[int]) -> None:
    """Train every cell of a block on some batches of its own pass, with rounded products.

    Updates the block's weights, moments and statistics in place. The weights stay those behind the rounded ones, until
    the last step of the run leaves the rounded ones.

    Args:
        bits: of each layer.
    """
    net, training, block = work.net, work.training, work.block
    kept = kept_weights(net, block.weights, block.masks, bits)
    values = codebooks(kept, block.weights)
    codes = assigned(kept, values, kept.scaled(block.weights))
    copy = block.weights.to(training.products or block.weights.dtype, copy=True)
    put(kept, values, codes, copy)
    own = eager.Products(copy, torch.empty_like(copy), False)

    def update(
        block: Population, own: eager.Products, masks: Tensor | None, training: Training, size: float, epsilon: float
    ) -> None:
        nonlocal values, codes
        eager.masked_update(block, own, masks, training, size, epsilon)
        scaled = kept.scaled(block.weights)
        codes = assigned(kept, values, scaled)
        values = refitted(values, scaled, codes)
        own.weights.copy_(block.weights)
        put(kept, values, codes, own.weights)

    eager.train(work, update=update, products=own)
    count = steps_per_generation(work.rows.shape[0], training.batch)
    if block.generation + 1 == training.generations and work.steps.stop == count:
        put(kept, values, codes, block.weights)
        block.weights.copy_(rounded(net, block.weights, bits))


@dataclass(frozen=True)
class Quantized:
    """Another engine that evaluates rounded weights; the training is :func:`train`, by torch's operations."""

    engine: Runner
    bits: tuple[int, ...]
    """Of each layer."""

    @property
    def name(self) -> str:
        """Return the name of the engine beneath."""
        return self.engine.name

    def prepare(self, poll: Poll) -> None:
        """Make the engine beneath ready: it evaluates."""
        self.engine.prepare(poll)

    def train(self, work: Work) -> None:
        """Train a block: :func:`train`."""
        with rounding(work.training):
            train(work, self.bits)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate the rounded weights with the engine beneath."""
        return self.engine.evaluate(net, rounded(net, weights, self.bits), parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Refuse: a codebook is one individual's, and pairs change partners."""
        raise NotImplementedError("a run that rounds weights trains no pairs")

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of the engine beneath, the rounded copy, and places, owners, codes and sums as numbers."""
        return self.engine.scratch_bytes(parameters, value, moments) + parameters * (value + 6 * 8)
