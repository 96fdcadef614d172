"""The visit of a block of cells that all rules share: a pass of training with its prunes."""

from __future__ import annotations

from collections.abc import Callable

from aecompress.engines import workers
from aecompress.engines.base import Work
from aecompress.engines.training import steps_per_generation
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.pruning import Pruning, evidence_of, prune_published, prune_to, target_zeros, triggered
from aecompress.evolve.regrowth import share_at
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.transfer import on_device

SHARED_PRUNE = 200_000
"""Weights of a block from which cores share its pruning: below, sharing costs more than it brings."""


PRUNED_TOGETHER = 1 << 20
"""Weights that a core then prunes together: more take memory and no less time."""

PRUNED_ON_DEVICE = 1 << 27
"""Weights that a GPU prunes together, for its memory."""

Trainer = Callable[[Work], None]
"""Trains a block on some steps of its pass, like :meth:`aecompress.engines.base.Engine.train`."""


def visit_all(
    plan: Plan,
    population: Population,
    cells: list[int],
    rows: Rows,
    poll: Poll,
    *,
    trainer_of: Callable[[slice], Trainer] | None = None,
    prune_first: bool = False,
) -> list[bool]:
    """Train a population for one pass over the training rows, with its prunes, a block at a time; in place.

    Args:
        cells: the numbers of its cells, known on the host.
        trainer_of: gives the training of a block by its place in the population, where it is not the engine's.
        prune_first: whether each part of the pass is trained after its prune, not before.

    Returns:
        Which of the cells were pruned.
    """

    def visit_block(first: int) -> list[bool]:
        here = slice(first, min(first + plan.blocks.cells, len(cells)))
        train = trainer_of(here) if trainer_of else plan.engine.train
        block = population.part(here.start, here.stop)
        return visit(plan, block, cells[here], rows, poll, train=train, prune_first=prune_first)

    parts = range(0, len(cells), plan.blocks.cells)
    found = workers.each(visit_block, parts) if plan.blocks.cores_take == "blocks" else [*map(visit_block, parts)]
    return [pruned for part in found for pruned in part]


def visit(
    plan: Plan, block: Population, cells: list[int], rows: Rows, poll: Poll, *, train: Trainer, prune_first: bool
) -> list[bool]:
    """Train a block for one pass with its prunes, in place; ``cells`` are its cells, known on the host.

    Returns:
        Which of the cells were pruned.
    """
    count = steps_per_generation(rows.train.shape[0], plan.training.batch)
    prunes = plan.pruning.per_generation if plan.pruning else 1
    pruned = [False] * len(cells)
    for prune_index in range(prunes):
        steps = range(round(count * prune_index / prunes), round(count * (prune_index + 1) / prunes))
        work = Work(net=plan.net, training=plan.training, block=block, rows=rows.train, steps=steps, poll=poll)
        if not prune_first:
            train(work)
        now = prune(plan, block, cells, rows, prune_index)
        pruned = [before or after for before, after in zip(pruned, now, strict=True)]
        if prune_first:
            train(work)
    return pruned


def prune(plan: Plan, block: Population, cells: list[int], rows: Rows, prune_index: int) -> list[bool]:
    """Prune the block as its schedule demands at this prune of the generation, in place; return which cells were.

    Where training shares a block's cells among the cores, pruning does. A GPU prunes some cells after the others.
    """
    pruning, share = plan.pruning, len(cells)
    if pruning is None:
        return [False] * share
    if plan.blocks.cores_take == "cells" and block.weights.numel() >= SHARED_PRUNE:
        share = min(-(-share // workers.cores()), max(PRUNED_TOGETHER // plan.net.layout.size, 1))
    on_gpu = block.weights.is_cuda
    if on_gpu:
        share = min(share, max(PRUNED_ON_DEVICE // plan.net.layout.size, 1))
    one = prune_by_target if pruning.probability is None else prune_by_probability

    def prune_part(first: int) -> list[bool]:
        last = min(first + share, len(cells))
        return one(plan, pruning, block.part(first, last), cells[first:last], rows, prune_index)

    parts = range(0, len(cells), share)
    found = [*map(prune_part, parts)] if on_gpu else workers.each(prune_part, parts)
    return [pruned for part in found for pruned in part]


def prune_by_probability(
    plan: Plan, pruning: Pruning, block: Population, cells: list[int], rows: Rows, prune_index: int
) -> list[bool]:
    """Prune the cells whose draw lies below the schedule, in the operator's published form, on this core; in place."""
    hit = triggered(pruning, plan.training.seed, block.generation, cells)
    if not any(hit):
        return hit
    places = None if all(hit) else on_device([at for at, pruned in enumerate(hit) if pruned], block.weights.device)
    part = block if places is None else block.pick(places)
    evidence = evidence_of(plan.net, pruning, plan.training, part, (rows.train, rows.guide), prune_index)
    prune_published(plan.net, pruning, part, evidence)
    if part.stats is not None:
        part.stats.reset()
    if places is not None:
        block.put(places, part)
    return hit


def prune_by_target(
    plan: Plan, pruning: Pruning, block: Population, cells: list[int], rows: Rows, prune_index: int
) -> list[bool]:
    """Prune every cell to its target zeros at the end of this part of the pass, on this core.

    In place.
    """
    start, end = (
        (block.generation + part / pruning.per_generation) / plan.training.generations
        for part in (prune_index, prune_index + 1)
    )
    before, after = (target_zeros(plan.net, pruning, cells, progress) for progress in (start, end))
    exchanged = share_at(pruning.regrowth, pruning.regrowth_end, end)
    # Weights that may grow again are cut anew each time; persistent masks need it only when the target has risen.
    if not any(after) or (after == before and pruning.persistent and not exchanged):
        return [False] * len(cells)
    evidence = evidence_of(plan.net, pruning, plan.training, block, (rows.train, rows.guide), prune_index)
    prune_to(plan.net, pruning, block, evidence, after, exchanged)
    if block.stats is not None:
        block.stats.reset()
    return [count > 0 for count in after]
