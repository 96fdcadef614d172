"""Quantization-aware training: weights take few values while the network still learns to make up for it.

Two parts. In the first, more and more weights are set to their nearest value and stay there, those with the smallest
error first, while the others continue to learn (incremental network quantization, Zhou et al., ICLR 2017). In the
second, products see rounded weights, and the gradient there moves the weights behind them as if rounding were the
identity: the straight-through estimator (Bengio, Léonard and Courville 2013; BinaryConnect, Courbariaux et al. 2015).
Its rate is low, because a weight between two values jumps from one to the other. Codebooks are fitted once: when they
are fitted again at each step, their values wander together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Evaluation, Function, PairWork, Runner, Work
from aecompress.engines.training import Training, rounding, steps_per_generation
from aecompress.nets.codebooks import Kept, codebooks, kept_tensors, nearest, put, rounded
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll
from aecompress.population.state import Population

SETTING = 0.65
"""Share of the steps in which weights are set to their values, part by part; the rest is straight-through."""
TIMES = 32
"""How often some are set."""
SET_POWER = 1 / 3
"""The share of those set rises with this power of the progress, so that most have the others to make up for them."""
SETTING_RATES, THROUGH_RATE = (1.0, 0.2), 0.04
"""Shares of the peak learning rate: at the beginning of setting and at its end, where it would end with the steps; and
at the beginning of the second part, which ends at 0. Both fall by half a cosine."""


@dataclass(frozen=True)
class Quantization:
    """When and to how many values weights are rounded."""

    values: tuple[int, ...]
    """Of each layer's matrix, beside 0."""
    start: int
    """The generation from which on weights are rounded."""

    def done(self, training: Training, generation: float) -> float:
        """Return the progress of the rounding, from 0 at the start to 1 at the end of the run."""
        return (generation - self.start) / (training.generations - self.start)

    def rate(self, training: Training, progress: float) -> float:
        """Return the share of the peak learning rate at a ``progress`` of the run."""
        done = self.done(training, progress * training.generations)
        if done < SETTING:
            first, last = SETTING_RATES
            return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
        return THROUGH_RATE * (1 + math.cos(math.pi * (done - SETTING) / (1 - SETTING))) / 2


def train(work: Work, quantization: Quantization) -> None:
    """Train every cell of a block on some batches of its own pass, its weights more and more rounded.

    Updates the block's weights, moments, statistics and, at the start, codebooks in place. The last step of a run
    leaves the rounded weights.
    """
    net, training, block = work.net, work.training, work.block
    levels = block.levels
    assert levels is not None
    count = steps_per_generation(work.rows.shape[0], training.batch)
    kept = kept_tensors(net, block.masks, quantization.values)
    if block.generation == quantization.start and work.steps.start == 0:
        levels.copy_(codebooks(kept, kept.of(block.weights)).view_as(levels))
    training = dataclasses.replace(training, rate=lambda progress: quantization.rate(work.training, progress))
    done = [quantization.done(training, block.generation + step / count) for step in range(count + 1)]
    border = max(work.steps.start, min(work.steps.stop, sum(each < SETTING for each in done)))
    parts = (range(work.steps.start, border), set_some), (range(border, work.steps.stop), straight_through)
    for steps, part in parts:
        if len(steps):
            part(dataclasses.replace(work, training=training, steps=steps), kept, levels.flatten(0, 1), done)
    if block.generation + 1 == training.generations and work.steps.stop == count:
        block.weights.copy_(rounded(net, block.weights, levels, quantization.values))


def set_some(work: Work, kept: Kept, levels: Tensor, done: Sequence[float]) -> None:
    """Train while more and more weights are set to their values, in place.

    Args:
        levels: of the codebooks, ``[C, width]``.
        done: progress before each step of the pass, and after the last.
    """
    live = work.block.masks.to(work.block.weights.dtype)
    set_nearest(work.block, kept, levels, live, 0.0)
    steps = iter(work.steps)

    def update(
        block: Population, own: eager.Products, masks: Tensor | None, training: Training, size: float, epsilon: float
    ) -> None:
        eager.masked_update(block, own, live, training, size, epsilon)
        step = next(steps)
        before, after = (min(done[at] / SETTING, 1.0) for at in (step, step + 1))
        if int(before * TIMES) < int(after * TIMES):
            set_nearest(block, kept, levels, live, after**SET_POWER)
            if own.half:
                own.weights.copy_(block.weights)

    eager.train(work, update=update)


def set_nearest(block: Population, kept: Kept, levels: Tensor, live: Tensor, share: float) -> None:
    """Set a ``share`` of each individual's kept weights to their values, those that are nearest to them.

    Updates weights and moments in place, and ``live`` ``[P, n]``, which becomes 0 where a weight has its value.
    """
    found, individual = kept.of(block.weights), kept.places // block.weights.shape[1]
    values = levels.reshape(-1)[nearest(kept, levels, found)].to(found.dtype)
    order = (found - values).abs().argsort(stable=True)
    order = order[individual[order].argsort(stable=True)]
    counts = torch.zeros(len(block), dtype=torch.int64, device=order.device)
    counts.index_add_(0, individual, torch.ones_like(individual))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[individual]
    chosen = torch.zeros_like(found, dtype=torch.bool)
    chosen[order] = rank < (share * counts)[individual]
    chosen |= found == values
    block.weights.view(-1)[kept.places] = torch.where(chosen, values, found)
    still = torch.where(chosen, 0.0, 1.0).to(live.dtype)
    for each in (live, *(block.moments or ())):
        each.view(-1)[kept.places] *= still


def straight_through(work: Work, kept: Kept, levels: Tensor, done: Sequence[float]) -> None:
    """Train the weights behind the rounded ones, which products see, in place."""
    block = work.block
    copy = block.weights.to(work.training.products or block.weights.dtype, copy=True)
    put(kept, levels, nearest(kept, levels, kept.of(block.weights)), copy)
    own = eager.Products(copy, torch.empty_like(copy), False)

    def update(
        block: Population, own: eager.Products, masks: Tensor | None, training: Training, size: float, epsilon: float
    ) -> None:
        eager.masked_update(block, own, masks, training, size, epsilon)
        own.weights.copy_(block.weights)
        put(kept, levels, nearest(kept, levels, kept.of(block.weights)), own.weights)

    eager.train(work, update=update, products=own)


@dataclass(frozen=True)
class Quantized:
    """Another engine with training by :func:`train`, by torch's operations."""

    engine: Runner
    quantization: Quantization

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
            train(work, self.quantization)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate with the engine beneath."""
        return self.engine.evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Refuse: a codebook is one individual's, and pairs change partners."""
        raise NotImplementedError("a run that rounds weights trains no pairs")

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function in the way of the engine beneath."""
        return self.engine.compute(function, poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of the engine beneath, the rounded copy, and some whole numbers for each parameter."""
        return self.engine.scratch_bytes(parameters, value, moments) + parameters * (value + 8 * 8)
