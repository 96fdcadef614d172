"""The visit of a block of cells that all rules share: a pass of training with its prunes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aecompress.engines import workers
from aecompress.engines.base import Poll, TrainBlock
from aecompress.engines.training import steps_per_generation
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.pruning import gather, prune_published, prune_to, target_zeros, triggered
from aecompress.evolve.regrowth import share_at
from aecompress.population.state import Population

SHARED_PRUNE = 200_000
"""Weights of a block from which cores share its pruning: below, handing it over costs more than it brings."""


PRUNED_TOGETHER = 1 << 20
"""Weights that a core then prunes together: more take memory and no less time."""


def visit_all(
    plan: Plan,
    population: Population,
    cells: list[int],
    rows: Rows,
    poll: Poll,
    train_of: Callable[[Tensor], TrainBlock] | None = None,
) -> list[bool]:
    """One pass over the training rows for some ``cells``, with its prunes, a block at a time.

    The cells do not meet. Updates them in ``population``, in place.

    Args:
        train_of: how the block of some cells trains, where it is not the engine's way.

    Returns:
        Which of the cells were pruned.
    """
    train_of = train_of or (lambda index: plan.engine.train)

    def one(part: list[int]) -> list[bool]:
        first, last = part[0], part[0] + len(part)
        if part == list(range(first, last)):
            index = torch.arange(first, last, device=population.weights.device)
            return visit(plan, population.part(first, last), part, index, rows, poll, train_of(index))
        index = torch.tensor(part, device=population.weights.device)
        block = population.pick(index)
        fired = visit(plan, block, part, index, rows, poll, train_of(index))
        population.put(index, block)
        return fired

    parts = [cells[first : first + plan.block] for first in range(0, len(cells), plan.block)]
    found = workers.each(one, parts) if plan.apart else [one(part) for part in parts]
    return [was for part in found for was in part]


def visit(
    plan: Plan, block: Population, cells: list[int], index: Tensor, rows: Rows, poll: Poll, train_block: TrainBlock
) -> list[bool]:
    """The pass of one block, in place; ``index`` is ``cells`` on the device."""
    count = steps_per_generation(rows.train.shape[0], plan.training.batch)
    prunes = plan.pruning.per_generation if plan.pruning else 1
    prune_first = plan.ring is not None and plan.ring.prune_first
    pruned = [False] * len(cells)
    for prune_index in range(prunes):
        steps = range(round(count * prune_index / prunes), round(count * (prune_index + 1) / prunes))
        if not prune_first:
            train_block(plan.net, plan.training, block, index, rows.train, steps, poll)
        fired = prune(plan, block, cells, index, rows, prune_index)
        pruned = [before or now for before, now in zip(pruned, fired, strict=True)]
        if prune_first:
            train_block(plan.net, plan.training, block, index, rows.train, steps, poll)
    return pruned


def prune(plan: Plan, block: Population, cells: list[int], index: Tensor, rows: Rows, prune_index: int) -> list[bool]:
    """Prune the block as its schedule asks at this prune_index of the generation, in place; tells which cells were.

    Where training shares a block's cells among the cores, pruning does.
    """
    share = len(cells)
    if plan.engine.whole_passes and block.weights.numel() >= SHARED_PRUNE:
        share = min(-(-share // workers.cores()), max(PRUNED_TOGETHER // plan.net.layout.size, 1))

    def some(first: int) -> list[bool]:
        last = min(first + share, len(cells))
        return prune_here(plan, block.part(first, last), cells[first:last], index[first:last], rows, prune_index)

    found = workers.each(some, range(0, len(cells), share))
    return [was for part in found for was in part]


def prune_here(
    plan: Plan, block: Population, cells: list[int], index: Tensor, rows: Rows, prune_index: int
) -> list[bool]:
    """The same with this core alone."""
    pruning, generation = plan.pruning, block.generation
    none_pruned = [False] * len(cells)
    if pruning is None:
        return none_pruned
    if pruning.probability is not None:
        fired = triggered(pruning, plan.training.seed, generation, cells)
        if not any(fired):
            return none_pruned
        which = torch.tensor([place for place, hit in enumerate(fired) if hit], device=index.device)
        hit = block.pick(which)
        evidence = gather(plan.net, pruning, plan.training, hit, index[which], (rows.train, rows.guide), prune_index)
        prune_published(plan.net, pruning, hit, evidence)
        if hit.stats is not None:
            hit.stats.reset()
        block.put(which, hit)
    else:
        start, end = (
            (generation + part / pruning.per_generation) / plan.training.generations
            for part in (prune_index, prune_index + 1)
        )
        before, after = (target_zeros(plan.net, pruning, cells, progress) for progress in (start, end))
        exchanged = share_at(pruning.regrowth, pruning.regrowth_end, end)
        # Weights that may grow again are cut anew each time; persistent masks need it only when more is asked.
        if not any(after) or (after == before and pruning.persistent and not exchanged):
            return none_pruned
        fired = [count > 0 for count in after]
        evidence = gather(plan.net, pruning, plan.training, block, index, (rows.train, rows.guide), prune_index)
        prune_to(plan.net, pruning, block, evidence, after, exchanged)
        if block.stats is not None:
            block.stats.reset()
    return fired
