"""What a mode is given and what it gives back, one generation at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.evolve.population import Population
from aecompress.evolve.pruning import Pruning, prune, zeros_asked
from aecompress.evolve.training import Training, steps_per_generation, train
from aecompress.nets.autoencoder import Autoencoder, reconstruction_loss
from aecompress.nets.losses import finite_or_inf

MEASURE_ROWS = 10_000
"""Rows of a split that the loss of a generation is measured on; the final metrics use all."""

Poll = Callable[[], None]
"""Called before every batch; raises to stop the run there."""


@dataclass(frozen=True)
class Plan:
    """Everything about an evolution that does not change while it runs."""

    net: Autoencoder
    training: Training
    pruning: Pruning | None
    measure: str
    """The reported loss, and the fitness on validation rows."""


@dataclass(frozen=True)
class Rows:
    """Scaled rows on the device."""

    train: Tensor
    """``[N, D]``."""
    validation: Tensor
    """``[V, D]``; the training rows where the run has no others."""


@dataclass(frozen=True)
class Report:
    """A generation's figures, still on the device, so that reading them is one transfer."""

    train_loss: Tensor
    """``[P]``."""
    validation_loss: Tensor
    """``[P]``."""
    layer_zeros: Tensor
    """``[P, layers]``: weights and biases that are exactly 0."""
    parents: Tensor
    """int64 ``[P]``: the cell each individual was copied from."""
    asked: float
    pruned: bool


def train_and_prune(plan: Plan, block: Population, cells: Tensor, rows: Rows, poll: Poll) -> bool:
    """One pass over the training rows, pruning at its evenly spaced moments; True where anything was pruned.

    Updates the block in place.
    """
    count = steps_per_generation(rows.train.shape[0], plan.training.batch)
    moments = plan.pruning.per_generation if plan.pruning else 1
    pruned = False
    done = 0
    for moment in range(moments):
        until = round(count * (moment + 1) / moments)
        train(plan.net, plan.training, block, cells, rows.train, range(done, until), poll)
        done = until
        if plan.pruning is None:
            continue
        before, after = (
            zeros_asked(plan.net, plan.pruning, (block.generation + part / moments) / plan.training.generations)
            for part in (moment, moment + 1)
        )
        if after > before:
            prune(plan.net, plan.pruning, block, cells, plan.training.seed, moment, after)
            pruned = True
    return pruned


def asked(plan: Plan, generation: int) -> float:
    """The sparsity the schedule asks for once ``generation`` generations are complete."""
    if plan.pruning is None:
        return 0.0
    return plan.pruning.target * plan.pruning.share(generation / plan.training.generations)


def report(plan: Plan, population: Population, rows: Rows, parents: Tensor, pruned: bool) -> Report:
    """Measure a population whose generation is complete; sets its fitness in place."""
    weights = plan.net.layout.views(population.weights)
    train_loss = measured(plan, weights, rows.train)
    own = rows.validation is not rows.train
    validation_loss = measured(plan, weights, rows.validation) if own else train_loss
    population.fitness.copy_(finite_or_inf(validation_loss))
    return Report(
        train_loss, validation_loss, layer_zeros(plan.net, weights), parents, asked(plan, population.generation), pruned
    )


def measured(plan: Plan, weights: dict[str, Tensor], rows: Tensor) -> Tensor:
    """Mean reported loss ``[P]`` on the first :data:`MEASURE_ROWS` of ``rows``."""
    return reconstruction_loss(plan.net, weights, rows[:MEASURE_ROWS], plan.measure)


def layer_zeros(net: Autoencoder, weights: dict[str, Tensor]) -> Tensor:
    """Zeros among each layer's weights and biases, int64 ``[P, layers]``."""
    counts = []
    for layer in net.layers:
        tensors = (weights[layer.name + ".weight"], weights[layer.name + ".bias"])
        counts.append(sum((tensor == 0).sum((1, 2)) for tensor in tensors))
    return torch.stack(counts, 1)  # type: ignore[arg-type]
