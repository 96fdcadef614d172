"""One pass of training for a block of cells, all cells in each operation.

The three things a reader looks for: the forward and backward pass (`gradient`), the mask (one product), and the update
rule (one function of `UPDATES`) stand under each other in `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import rng
from aecompress.evolve.population import Population
from aecompress.nets.autoencoder import Autoencoder, gradient
from aecompress.nets.layers import Trace

Rate = Callable[[float], float]
"""Share of the base learning rate, from the progress of the run in [0, 1)."""


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
    lasting_masks: bool
    """Whether pruned weights stay pruned: their gradients, moments and values stay exactly 0."""
    noise: str
    """"none", "input" (denoising) or "latent" (variational)."""
    noise_level: float


def steps_per_generation(rows: int, batch: int) -> int:
    """Batches in one pass over ``rows`` training rows; the last batch may be smaller."""
    return -(-rows // batch)


def adam(block: Population, grad: Tensor, rate: float, step: int, betas: tuple[float, float]) -> None:
    """Adam (Kingma and Ba 2015, with the two bias corrections folded into step size and epsilon as in section 2).

    Updates ``block.weights`` and ``block.moments`` ``[P, n]`` in place and overwrites ``grad``; ``step`` counts from 1.
    Where gradient and moments are exactly 0, nothing moves.
    """
    assert block.moments is not None
    first, second = block.moments
    first.lerp_(grad, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    correction = (1 - betas[1] ** step) ** 0.5
    change = torch.sqrt(second, out=grad).add_(1e-8 * correction)
    torch.div(first, change, out=change)
    change *= (block.learning_rate * (rate * correction / (1 - betas[0] ** step)))[:, None]
    block.weights.sub_(change)


def fresh_adam(block: Population, grad: Tensor, rate: float, step: int, betas: tuple[float, float]) -> None:
    """The first step of a new Adam, every step (ALGORITHMS A4.4): w -= lr g / (|g| + 1e-8).

    Updates ``block.weights`` in place and overwrites ``grad``; where ``grad`` is exactly 0, nothing moves.
    """
    scale = torch.abs(grad).add_(1e-8)
    change = torch.div(grad, scale, out=scale)
    change *= (block.learning_rate * rate)[:, None]
    block.weights.sub_(change)


UPDATES = {"adam": adam, "fresh-adam": fresh_adam}


def train(
    net: Autoencoder,
    training: Training,
    block: Population,
    cells: Tensor,
    rows: Tensor,
    steps: range,
    poll: Callable[[], None],
    watch: Callable[[Trace], None] | None = None,
) -> None:
    """Train every cell of ``block`` on batches ``steps`` of its own shuffled pass over ``rows`` ``[N, D]``.

    Updates the block's weights and moments in place. ``poll`` is called before every batch and may raise to stop;
    ``watch`` sees each batch's forward pass.

    Args:
        cells: int64 ``[P]``, the block's cell indices, which key its draws.
        steps: which batches of the pass; a pass may be cut in parts.
    """
    weights = net.layout.views(block.weights)
    grad = torch.empty_like(block.weights)
    gradients = net.layout.views(grad)
    update = UPDATES[training.optimizer]
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
        if training.lasting_masks:
            grad.mul_(block.masks)
        total = generation * count + step
        rate = training.rate(total / (training.generations * count))
        update(block, grad, rate, total + 1, training.betas)
        if watch is not None:
            watch(trace)


def draw_noise(
    net: Autoencoder, training: Training, generation: int, cells: Tensor, step: int, batch: Tensor
) -> Tensor | None:
    """The batch's noise: ``[P, B, D]`` for denoising, ``[P, B, latent]`` for variational, else None."""
    if training.noise == "none":
        return None
    width = batch.shape[2] if training.noise == "input" else net.latent
    shape = (batch.shape[1], width)
    return rng.normal(training.seed, "noise", generation, cells, step, shape).to(batch.dtype)
