"""A generation's figures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecompress.engines import workers
from aecompress.engines.base import Evaluation
from aecompress.evolve.base import Plan, Report, Rows, Visited
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.rows import RowSet
from aecompress.polling import Poll


def scheduled(plan: Plan, generation: int) -> float:
    """Return the target of the schedule once ``generation`` generations (at least 1) are complete.

    A sparsity when driven by a target, the mean of the cells', else the last generation's probability of a prune.
    """
    if plan.pruning is None:
        return 0.0
    if plan.pruning.probability is not None:
        return plan.pruning.probability(generation - 1)
    progress = generation / plan.training.generations
    shares = [target * curve(progress) for target, curve in zip(plan.pruning.targets, plan.pruning.curves, strict=True)]
    return sum(shares) / len(shares)


def evaluate_blocks(plan: Plan, weights: Tensor, parts: Sequence[RowSet], poll: Poll) -> Evaluation:
    """Evaluate individuals ``weights`` ``[P, n]``; where each core trains blocks of its own, each evaluates its own."""
    if plan.blocks.cores_take != "blocks":
        return plan.engine.evaluate(plan.net, weights, parts, plan.metric, poll)

    def evaluate(block: Tensor) -> Evaluation:
        return plan.engine.evaluate(plan.net, block, parts, plan.metric, poll)

    found = workers.each(evaluate, list(torch.split(weights, plan.blocks.cells)))
    losses = [torch.cat(values) for values in zip(*(each.losses for each in found), strict=True)]
    return Evaluation(losses, torch.cat([each.layer_zeros for each in found]))


def report(plan: Plan, visited: Visited, rows: Rows, poll: Poll) -> Report:
    """Evaluate a population whose generation is complete; sets its fitness in place."""
    population = visited.population
    last = population.generation == plan.training.generations
    validation = rows.validation if last else rows.validation_sample
    parts = [rows.sample] if validation is rows.sample else [rows.sample, validation]
    losses, zeros, fault = evaluate_blocks(plan, plan.seen(population), parts, poll)
    population.fitness.copy_(finite_or_inf(losses[-1]))
    return Report(
        train_loss=losses[0],
        validation_loss=losses[-1],
        layer_zeros=zeros,
        parents=visited.parents,
        pruned=visited.pruned,
        order=visited.order,
        fault=fault,
    )
