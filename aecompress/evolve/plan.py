"""What a mode is given, what it gives back, and the visit of a block of cells that all modes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aecompress.evolve.population import Population
from aecompress.evolve.pruning import Pruning, fires, gather, prune_published, prune_to, zeros_asked
from aecompress.evolve.training import Training, steps_per_generation, train
from aecompress.nets.autoencoder import Autoencoder, reconstruction_loss
from aecompress.nets.layers import Trace
from aecompress.nets.losses import finite_or_inf

Poll = Callable[[], None]
"""Called before every batch; raises to stop the run there."""


@dataclass(frozen=True)
class Ring:
    """The fixed numbers of coevolution (ALGORITHMS A4)."""

    radius: int
    asynchronous: bool
    tournament: int
    concept: Literal["best", "mean", "worst"]
    shared_batch: bool
    """One selection batch for the whole ring, or one per cell."""
    prune_first: bool
    walk: float
    """Standard deviation of a generation's step of each cell's learning rate; 0 leaves the rates alone."""


@dataclass(frozen=True)
class Plan:
    """Everything about an evolution that does not change while it runs."""

    net: Autoencoder
    training: Training
    pruning: Pruning | None
    ring: Ring | None
    measure: str
    """The reported loss, and the fitness."""
    block: int
    """Cells that are trained together, so that their weights stay in the cache."""


@dataclass(frozen=True)
class Rows:
    """Scaled rows on the device."""

    train: Tensor
    """``[N, D]``."""
    sample: Tensor
    """``[S, D]``: training rows that a generation's training loss is measured on; the final metrics use all."""
    validation: Tensor
    """``[V, D]``; the sample where the run has no others."""
    guide: Tensor
    """``[G, D]``: where guide rows are drawn."""


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
    pruned: list[bool]
    """Per cell, known on the host."""
    order: list[int]
    """The order in which cells were visited, one after the other; empty where all were at once."""


def visit(plan: Plan, population: Population, first: int, last: int, rows: Rows, poll: Poll) -> list[bool]:
    """One pass over the training rows for cells ``first`` to ``last - 1``, with its prunes.

    Updates these cells of ``population`` in place.

    Returns:
        Which of the cells were pruned.
    """
    block = population.block(first, last)
    cells = torch.arange(first, last, device=block.weights.device)
    count = steps_per_generation(rows.train.shape[0], plan.training.batch)
    moments = plan.pruning.per_generation if plan.pruning else 1
    prune_first = plan.ring is not None and plan.ring.prune_first
    pruned = [False] * (last - first)

    def look(trace: Trace) -> None:
        assert block.spread is not None
        block.spread.add(plan.net, trace)

    watch = None if block.spread is None else look
    for moment in range(moments):
        steps = range(round(count * moment / moments), round(count * (moment + 1) / moments))
        if not prune_first:
            train(plan.net, plan.training, block, cells, rows.train, steps, poll, watch)
        fired = prune(plan, block, cells, first, last, rows, moment)
        pruned = [before or now for before, now in zip(pruned, fired, strict=True)]
        if prune_first:
            train(plan.net, plan.training, block, cells, rows.train, steps, poll, watch)
    return pruned


def prune(plan: Plan, block: Population, cells: Tensor, first: int, last: int, rows: Rows, moment: int) -> list[bool]:
    """Prune the block as its schedule asks at this moment of the generation, in place; tells which cells were."""
    pruning, generation = plan.pruning, block.generation
    nobody = [False] * (last - first)
    if pruning is None:
        return nobody
    if pruning.chance is not None:
        fired = fires(pruning, plan.training.seed, generation, first, last)
        if not any(fired):
            return nobody
        evidence = gather(plan.net, pruning, block, cells, rows.guide, plan.training.seed, moment)
        which = torch.tensor(fired, device=block.weights.device)
        prune_published(plan.net, pruning, block, evidence, which)
    else:
        before, after = (
            zeros_asked(plan.net, pruning, (generation + part / pruning.per_generation) / plan.training.generations)
            for part in (moment, moment + 1)
        )
        # Weights that may grow again are cut anew each time; lasting masks need it only when more is asked.
        if after == 0 or (after <= before and pruning.lasting):
            return nobody
        fired = [True] * (last - first)
        which = torch.ones(last - first, dtype=torch.bool, device=block.weights.device)
        evidence = gather(plan.net, pruning, block, cells, rows.guide, plan.training.seed, moment)
        prune_to(plan.net, pruning, block, evidence, after)
    if block.spread is not None:
        block.spread.forget(which)
    return fired


def visit_all(plan: Plan, population: Population, rows: Rows, poll: Poll) -> list[bool]:
    """:func:`visit` for every cell, one block at a time: cells do not meet inside a generation."""
    size = population.weights.shape[0]
    pruned = []
    for first in range(0, size, plan.block):
        pruned += visit(plan, population, first, min(first + plan.block, size), rows, poll)
    return pruned


def asked(plan: Plan, generation: int) -> float:
    """What the schedule asks for once ``generation`` generations (at least 1) are complete.

    A sparsity when driven by a target, else the last generation's chance to prune.
    """
    if plan.pruning is None:
        return 0.0
    if plan.pruning.chance is not None:
        return plan.pruning.chance(generation - 1)
    assert plan.pruning.curve is not None
    return plan.pruning.target * plan.pruning.curve(generation / plan.training.generations)


def report(
    plan: Plan,
    population: Population,
    rows: Rows,
    parents: Tensor,
    pruned: list[bool],
    poll: Poll,
    order: list[int] | None = None,
) -> Report:
    """Measure a population whose generation is complete; sets its fitness in place."""
    net, weights = plan.net, plan.net.layout.views(population.weights)
    train_loss = reconstruction_loss(net, weights, rows.sample, plan.measure, poll)
    own = rows.validation is not rows.sample
    validation_loss = reconstruction_loss(net, weights, rows.validation, plan.measure, poll) if own else train_loss
    population.fitness.copy_(finite_or_inf(validation_loss))
    return Report(train_loss, validation_loss, layer_zeros(net, weights), parents, pruned, order or [])


def layer_zeros(net: Autoencoder, weights: dict[str, Tensor]) -> Tensor:
    """Zeros among each layer's weights and biases, int64 ``[P, layers]``."""
    counts = []
    for layer in net.layers:
        weight, bias = weights[layer.name + ".weight"], weights[layer.name + ".bias"]
        counts.append((weight == 0).sum((1, 2)) + (bias == 0).sum((1, 2)))
    return torch.stack(counts, 1)
