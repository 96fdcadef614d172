"""A generation's figures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecompress.engines import workers
from aecompress.engines.base import Evaluation, Poll
from aecompress.evolve.base import Plan, Report, Rows
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.rows import RowSet
from aecompress.population.state import Population


def scheduled(plan: Plan, generation: int) -> float:
    """What the schedule asks for once ``generation`` generations (at least 1) are complete.

    A sparsity when driven by a target, the mean of the cells', else the last generation's chance to prune.
    """
    if plan.pruning is None:
        return 0.0
    if plan.pruning.probability is not None:
        return plan.pruning.probability(generation - 1)
    progress = generation / plan.training.generations
    shares = [target * curve(progress) for target, curve in zip(plan.pruning.targets, plan.pruning.curves, strict=True)]
    return sum(shares) / len(shares)


def evaluate_apart(plan: Plan, weights: Tensor, parts: Sequence[RowSet], poll: Poll) -> Evaluation:
    """Measure individuals ``weights`` ``[P, n]``; where each core trains blocks of its own, each measures its own."""
    if not plan.apart:
        return plan.engine.evaluate(plan.net, weights, parts, plan.metric, poll)

    def one(block: Tensor) -> Evaluation:
        return plan.engine.evaluate(plan.net, block, parts, plan.metric, poll)

    found = workers.each(one, list(torch.split(weights, plan.block)))
    losses = [torch.cat(values) for values in zip(*(each.losses for each in found), strict=True)]
    return Evaluation(losses, torch.cat([each.layer_zeros for each in found]))


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
    seen = rows.validation if population.generation == plan.training.generations else rows.validation_sample
    parts = [rows.sample] if seen is rows.sample else [rows.sample, seen]
    losses, zeros = evaluate_apart(plan, population.weights, parts, poll)
    population.fitness.copy_(finite_or_inf(losses[-1]))
    return Report(losses[0], losses[-1], zeros, parents, pruned, order or [])
