"""One pass of training for a block of cells, all cells in each operation.

The three things a reader looks for: the forward and backward pass is `gradient`, called in `train`; the mask is one
product and the update rule one function of `UPDATES`, under each other in `masked_update`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Engine, Evaluation, Poll
from aecompress.engines.training import Step, Training, draw_noise, step_size, steps_per_generation
from aecompress.nets.autoencoder import Autoencoder, gradient, reconstruction_loss
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.population.state import Population


def adam(block: Population, grad: Tensor, size: float, epsilon: float, betas: tuple[float, float]) -> None:
    """Adam (Kingma and Ba 2015, algorithm 1), with ``size`` and ``epsilon`` of :func:`step_size`.

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
    """The first step of a new Adam, every step (ALGORITHMS A4.4): w -= lr g / (|g| + 1e-8).

    Updates ``block.weights`` in place and overwrites ``grad``; where ``grad`` is exactly 0, nothing moves.
    """
    scale = torch.abs(grad).add_(epsilon)
    change = torch.div(grad, scale, out=scale)
    change *= (block.learning_rate * size)[:, None]
    block.weights.sub_(change)


UPDATES = {"adam": adam, "fresh-adam": fresh_adam}


def masked_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: float, epsilon: float
) -> None:
    """The mask, where pruned weights stay pruned, and the update rule. In place.

    Args:
        own: the gradient, which is overwritten, and a half-precision copy of the weights, which is renewed.
        kept: the masks as numbers, ``[P, n]``; None where pruned weights may grow again.
    """
    grad = own.gradient.to(block.weights.dtype)
    if kept is not None:
        grad.mul_(kept)
    UPDATES[training.optimizer](block, grad, size, epsilon, training.betas)
    if own.half:
        own.weights.copy_(block.weights)


class Products(NamedTuple):
    """What the matrix products of a block read and write, ``[P, n]`` each."""

    weights: Tensor
    """The block's own, or a copy in half precision."""
    gradient: Tensor
    half: bool


def products_of(block: Population, training: Training) -> Products:
    """The block's own weights and a new gradient, or both in half precision; the weights themselves stay float32."""
    if training.products is None:
        return Products(block.weights, torch.empty_like(block.weights), False)
    copy = block.weights.to(training.products)
    return Products(copy, torch.empty_like(copy), True)


Update = Callable[[Population, Products, Tensor | None, Training, float, float], None]
"""Like :func:`masked_update`."""


Gradient = Callable[[Autoencoder, Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor | None, float, str], Trace]
"""Like :func:`aecompress.nets.autoencoder.gradient`."""


def train(
    net: Autoencoder,
    training: Training,
    block: Population,
    cells: Tensor,
    rows: RowSet,
    steps: range,
    poll: Callable[[], None],
    update: Update = masked_update,
    gradient: Gradient = gradient,
) -> None:
    """Train every cell of ``block`` on batches ``steps`` of its own shuffled pass over ``rows`` ``[N, D]``.

    Updates the block's weights, moments and activation statistics in place. ``poll`` is called before every batch and
    may raise to stop.

    Args:
        cells: int64 ``[P]``, the block's cell indices, which key its draws.
        steps: which batches of the pass; a pass may be cut in parts.
    """
    own = products_of(block, training)
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    kept = block.masks.to(block.weights.dtype) if training.persistent_masks else None
    generation, seed = block.generation, training.seed
    loss = training.loss(generation)
    count = steps_per_generation(rows.shape[0], training.batch)
    order = rng.permutation(seed, "batches", generation, cells, 0, rows.shape[0])
    for step in steps:
        poll()
        index = order[:, step * training.batch : (step + 1) * training.batch]
        batch = rows.index_select(0, index.reshape(-1)).view(*index.shape, -1)  # [P, B, D]
        noise = draw_noise(net, training, generation, cells, step, batch)
        trace = gradient(net, weights, gradients, batch, noise, training.noise_level, loss)
        size, epsilon = step_size(training, generation * count + step, training.generations * count)
        update(block, own, kept, training, size, epsilon)
        if block.stats is not None:
            block.stats.add(net, trace)


def train_together(
    net: Autoencoder,
    training: Training,
    individuals: Population,
    pairs: tuple[Tensor, Tensor],
    keys: Tensor,
    batch: Tensor,
    step: Step,
) -> Trace:
    """One update of K encoders, each with the decoder of some individual. Updates weights and moments in place.

    Args:
        pairs: whose encoders and whose decoders, int64 ``[K]`` each; none twice.
        keys: int64 ``[K]``, which key the noise.
        batch: ``[K, B, D]``.

    Returns:
        What the layers gave on the batch before the update.
    """
    pair = individuals.pair(*pairs, net)
    own = products_of(pair, training)
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    kept = pair.masks.to(pair.weights.dtype) if training.persistent_masks else None
    generation = pair.generation
    noise = draw_noise(net, training, generation, keys, 2 * step.number + step.turn, batch)
    trace = gradient(net, weights, gradients, batch, noise, training.noise_level, training.loss(generation))
    size, epsilon = step_size(training, generation * step.of + step.number, training.generations * step.of)
    masked_update(pair, own, kept, training, size, epsilon)
    individuals.put_pair(*pairs, pair, net)
    return trace


EVALUATED_CELLS = 16
"""Cells of one evaluation."""


def evaluate(net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll) -> Evaluation:
    """Losses of individuals ``weights`` ``[P, n]`` on each of ``parts`` ``[N, D]``, and their zeros.

    A few cells at a time, so that memory stays bounded.
    """
    groups = torch.split(weights, EVALUATED_CELLS)
    losses = [
        torch.cat([reconstruction_loss(net, net.layout.views(group), part, metric, poll) for group in groups])
        for part in parts
    ]
    return Evaluation(losses, layer_zeros(net, weights))


def layer_zeros(net: Autoencoder, weights: Tensor) -> Tensor:
    """Zeros among each layer's weights and biases, of individuals ``[P, n]``: int32 ``[P, layers]``."""
    found = []
    for group in torch.split(weights, EVALUATED_CELLS):
        zero = (group[:, : net.model_size] == 0).view(torch.uint8)
        parts = torch.split(zero, net.layer_sizes, dim=1)
        found.append(torch.stack([part.sum(1, dtype=torch.int32) for part in parts], 1))
    return torch.cat(found)


EAGER = Engine("eager", train, evaluate, train_together)
