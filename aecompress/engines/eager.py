"""Training by torch's operations, all cells of a block in each: the engine that everything can run on.

The three things a reader looks for: the forward and backward pass is `gradient`, called in `train`; the mask is one
product and the update rule one function of `UPDATES`, under each other in `masked_update`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.blocks import cache_blocks, multiplied_again
from aecompress.engines.cuda.costs import eager_seconds
from aecompress.engines.training import (
    Training,
    batch_of,
    draw_noise,
    rounding,
    row_order,
    step_size,
    steps_per_generation,
)
from aecompress.nets.autoencoder import gradient, layer_zeros, reconstruction_loss
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll
from aecompress.population.state import Population


def adam(block: Population, grad: Tensor, size: float, epsilon: float, betas: tuple[float, float]) -> None:
    """Make a step of Adam (Kingma and Ba 2015, algorithm 1), with ``size`` and ``epsilon`` of :func:`step_size`.

    Updates ``block.weights`` and ``block.moments`` ``[P, n]`` in place and overwrites ``grad``. Where gradient and
    moments are exactly 0, nothing moves.
    """
    assert block.moments is not None
    first, second = block.moments
    first.lerp_(grad, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    # Vector libraries take many times as long for the root of exactly 0, which every pruned weight would ask for.
    change = torch.add(second, torch.finfo(second.dtype).tiny, out=grad).sqrt_().add_(epsilon)
    torch.div(first, change, out=change)
    change *= (block.learning_rate * size)[:, None]
    block.weights.sub_(change)


def fresh_adam(block: Population, grad: Tensor, size: float, epsilon: float, betas: tuple[float, float]) -> None:
    """Make the first step of a new Adam, as every step is (ALGORITHMS A4.4): w -= lr g / (|g| + 1e-8).

    Updates ``block.weights`` in place and overwrites ``grad``; where ``grad`` is exactly 0, nothing moves.
    """
    scale = torch.abs(grad).add_(epsilon)
    change = torch.div(grad, scale, out=scale)
    change *= (block.learning_rate * size)[:, None]
    block.weights.sub_(change)


UPDATES = {"adam": adam, "fresh-adam": fresh_adam}


class Products(NamedTuple):
    """What the matrix products of a block read and write, ``[P, n]`` each."""

    weights: Tensor
    """The block's own, or a copy in half precision."""
    gradient: Tensor
    half: bool


def products_of(block: Population, training: Training) -> Products:
    """Return the block's own weights and a new gradient, or both in half precision; the weights stay float32."""
    if training.products is None:
        return Products(block.weights, torch.empty_like(block.weights), False)
    copy = block.weights.to(training.products)
    return Products(copy, torch.empty_like(copy), True)


def masked_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: float, epsilon: float
) -> None:
    """Mask the gradient, where pruned weights stay pruned, and apply the update rule. In place.

    Args:
        own: the gradient, which is overwritten, and a half-precision copy of the weights, which is refreshed.
        kept: the masks as numbers, ``[P, n]``; None where pruned weights may grow again.
    """
    grad = own.gradient.to(block.weights.dtype)
    if kept is not None:
        grad.mul_(kept)
    UPDATES[training.optimizer](block, grad, size, epsilon, training.betas)
    if own.half:
        own.weights.copy_(block.weights)


Update = Callable[[Population, Products, Tensor | None, Training, float, float], None]
"""Like :func:`masked_update`."""


Gradient = Callable[..., Trace]
"""Like :func:`aecompress.nets.autoencoder.gradient`."""


def train(
    work: Work, update: Update = masked_update, gradient: Gradient = gradient, products: Products | None = None
) -> None:
    """Train every cell of a block on some batches of its own shuffled pass over the rows.

    Updates the block's weights, moments and activation statistics in place.

    Args:
        products: what the products read and write, where ``update`` keeps it up to date; None: :func:`products_of`.
    """
    net, training, block = work.net, work.training, work.block
    own = products or products_of(block, training)
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    kept = block.masks.to(block.weights.dtype) if training.persistent_masks else None
    generation, rows = block.generation, work.rows
    loss = training.loss(generation)
    count = steps_per_generation(rows.shape[0], training.batch)
    order = row_order(training, generation, work.cells, rows)
    for step in work.steps:
        work.poll()
        batch = batch_of(training, rows, order, step)  # [P, B, D]
        noise = draw_noise(net, training, generation, work.cells, step, batch)
        trace = gradient(
            net, weights, gradients, batch, noise, training.noise_level, loss=loss, code_l1=training.code_l1
        )
        size, epsilon = step_size(training, generation * count + step, training.generations * count)
        update(block, own, kept, training, size, epsilon)
        if block.stats is not None:
            block.stats.add(net, trace)


def train_pairs(work: PairWork) -> Trace:
    """Make one update of K encoders, each with the decoder of some individual; updates weights and moments in place.

    Returns:
        What the layers gave on the batch before the update.
    """
    net, training, step = work.net, work.training, work.step
    pair = work.individuals.pair(work.encoders, work.decoders, net)
    own = products_of(pair, training)
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    kept = pair.masks.to(pair.weights.dtype) if training.persistent_masks else None
    generation = pair.generation
    noise = draw_noise(net, training, generation, work.keys, 2 * step.number + step.turn, work.batch)
    loss, penalty = training.loss(generation), training.code_l1
    trace = gradient(net, weights, gradients, work.batch, noise, training.noise_level, loss=loss, code_l1=penalty)
    size, epsilon = step_size(training, generation * step.of + step.number, training.generations * step.of)
    masked_update(pair, own, kept, training, size, epsilon)
    work.individuals.put_pair(work.encoders, work.decoders, pair, net)
    return trace


EVALUATED_CELLS = 16
"""Cells of one evaluation."""


def evaluate(
    net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll, cells: int = EVALUATED_CELLS
) -> Evaluation:
    """Return the losses of individuals ``weights`` ``[P, n]`` on each of ``parts`` ``[N, D]``, and their zeros.

    Some ``cells`` at a time, so that memory stays bounded; their number decides how sums are rounded.
    """
    groups = torch.split(weights, cells)
    losses = [
        torch.cat([reconstruction_loss(net, net.layout.views(group), part, metric, poll) for group in groups])
        for part in parts
    ]
    return Evaluation(losses, layer_zeros(net, weights, cells))


STEP_SECONDS = 3e-4
"""Of starting the operations of a step."""
UPDATE_SECONDS = {"adam": 2.5e-9, "fresh-adam": 1.2e-9}
"""Of updating one weight."""
PRODUCT_FLOPS = 1e11
"""Floating-point operations per second of matrix products."""

KERNEL_FLOPS, KERNEL_SECONDS = 4e10, 2e-4
"""Operations per second of a layer whose weights meet a row several times, and the time that starting it takes."""


def train_seconds(load: Workload) -> float:
    """Return, roughly, the seconds of the training steps: operations started, weights updated, products.

    Of one step at least, so that engines still differ where a run only prunes.
    """
    values, again = load.net.layout.size, multiplied_again(load.net)
    each = values * (UPDATE_SECONDS[load.optimizer] + load.batch * 6 / PRODUCT_FLOPS)
    kernels = sum(again) * load.batch * 6 / KERNEL_FLOPS + KERNEL_SECONDS * len(again)
    return max(load.steps, 1) * (STEP_SECONDS + load.cells * (each + kernels))


@dataclass(frozen=True)
class Eager:
    """The engine of torch's operations."""

    name: ClassVar[str] = "eager"
    compiled: ClassVar[bool] = False
    devices: ClassVar[tuple[str, ...]] = ()

    def why_not(self, load: Workload) -> str:
        """Return "": it trains everything."""
        return ""

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training."""
        return eager_seconds(load) if load.device.type == "cuda" else train_seconds(load)

    def layout(self, load: Workload) -> Blocks:
        """Return blocks that fit the cache."""
        return cache_blocks(load)

    def prepare(self, poll: Poll) -> None:
        """Do nothing: there is nothing to prepare."""

    def train(self, work: Work) -> None:
        """Train a block: :func:`train`."""
        with rounding(work.training):
            train(work)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate individuals: :func:`evaluate`."""
        return evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs: :func:`train_pairs`."""
        with rounding(work.training):
            return train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function."""
        return function(poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return 0: it has no large buffers of its own."""
        return 0
