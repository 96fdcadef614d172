"""What a mode is given, what it gives back, and the visit of a block of cells that all modes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from aecompress.evolve import workers
from aecompress.evolve.population import Population
from aecompress.evolve.pruning import Pruning, fires, gather, prune_published, prune_to, zeros_asked
from aecompress.evolve.regrowth import share_at
from aecompress.evolve.topology import Topology
from aecompress.evolve.training import Step, Training, steps_per_generation, train, train_together
from aecompress.nets.autoencoder import Autoencoder, reconstruction_loss
from aecompress.nets.layers import Trace
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.rows import RowSet

Poll = Callable[[], None]
"""Called before every batch; raises to stop the run there."""


MEASURE_CELLS = 16
"""Cells of one evaluation."""
SHARED_PRUNE = 200_000
"""Weights of a block from which cores share its pruning: below, handing it over costs more than it brings."""
PRUNED_TOGETHER = 1 << 20
"""Weights that a core then prunes together: more take memory and no less time."""


class Measured(NamedTuple):
    """What a generation is judged by, still on the device."""

    losses: list[Tensor]
    """``[P]`` each: mean loss on each of some parts of the rows."""
    layer_zeros: Tensor
    """``[P, layers]``: weights and biases that are exactly 0."""


def measured(net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], measure: str, poll: Poll) -> Measured:
    """Losses of individuals ``weights`` ``[P, n]`` on each of ``parts`` ``[N, D]``, and their zeros.

    A few cells at a time, so that memory stays bounded.
    """
    groups = torch.split(weights, MEASURE_CELLS)
    losses = [
        torch.cat([reconstruction_loss(net, net.layout.views(group), part, measure, poll) for group in groups])
        for part in parts
    ]
    return Measured(losses, layer_zeros(net, weights))


def layer_zeros(net: Autoencoder, weights: Tensor) -> Tensor:
    """Zeros among each layer's weights and biases, of individuals ``[P, n]``: int32 ``[P, layers]``."""
    found = []
    for group in torch.split(weights, MEASURE_CELLS):
        zero = (group[:, : net.model_size] == 0).view(torch.uint8)
        parts = torch.split(zero, net.layer_sizes, dim=1)
        found.append(torch.stack([part.sum(1, dtype=torch.int32) for part in parts], 1))
    return torch.cat(found)


TrainBlock = Callable[[Autoencoder, Training, Population, Tensor, RowSet, range, Poll], None]
"""Trains a block on some steps of its pass, like :func:`aecompress.evolve.training.train`."""


@dataclass(frozen=True)
class Engine:
    """A way to train and to measure; all ways compute the same, to rounding."""

    name: str
    train: TrainBlock
    """Like :func:`aecompress.evolve.training.train`."""
    measure: Callable[[Autoencoder, Tensor, Sequence[RowSet], str, Poll], Measured]
    """Like :func:`measured`."""
    together: Callable[[Autoencoder, Training, Population, tuple[Tensor, Tensor], Tensor, Tensor, Step], Trace] = (
        train_together
    )
    """Like :func:`aecompress.evolve.training.train_together`."""
    whole_passes: bool = False
    """Whether training takes a core per cell and returns after many steps."""


EAGER = Engine("eager", train, measured)


@dataclass(frozen=True)
class Ring:
    """The fixed numbers of coevolution (ALGORITHMS A4)."""

    topology: Topology
    asynchronous: bool
    tournament: int
    concept: Literal["best", "mean", "worst"]
    shared_batch: bool
    """One selection batch for the whole ring, or one per cell."""
    prune_first: bool
    opponents: bool
    """Whether the networks of the selected pair train with others of the neighbourhood, and not with each other."""
    panmictic: bool
    """Whether there is no space: every encoder trains with every decoder."""
    dominance: bool
    """Whether a cell takes the best pair of its neighbourhood only where that beats its own at its own budget."""


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
    """Cells that are trained together: their weights fit the cache, or the device."""
    apart: bool
    """Whether each core of a CPU trains blocks of its own; then torch's operations take one thread."""
    engine: Engine
    """How blocks are trained and measured."""


@dataclass(frozen=True)
class Rows:
    """Scaled rows on the device."""

    train: RowSet
    """``[N, D]``."""
    sample: RowSet
    """``[S, D]``: training rows that a generation's training loss is measured on; the final metrics use all."""
    validation: RowSet
    """``[V, D]``; the sample where the run has no others."""
    glance: RowSet
    """``[G, D]``: validation rows that a generation is measured on; the last one is measured on all."""
    guide: RowSet
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
    moments = plan.pruning.per_generation if plan.pruning else 1
    prune_first = plan.ring is not None and plan.ring.prune_first
    pruned = [False] * len(cells)
    for moment in range(moments):
        steps = range(round(count * moment / moments), round(count * (moment + 1) / moments))
        if not prune_first:
            train_block(plan.net, plan.training, block, index, rows.train, steps, poll)
        fired = prune(plan, block, cells, index, rows, moment)
        pruned = [before or now for before, now in zip(pruned, fired, strict=True)]
        if prune_first:
            train_block(plan.net, plan.training, block, index, rows.train, steps, poll)
    return pruned


def prune(plan: Plan, block: Population, cells: list[int], index: Tensor, rows: Rows, moment: int) -> list[bool]:
    """Prune the block as its schedule asks at this moment of the generation, in place; tells which cells were.

    Where training shares a block's cells among the cores, pruning does.
    """
    share = len(cells)
    if plan.engine.whole_passes and block.weights.numel() >= SHARED_PRUNE:
        share = min(-(-share // workers.cores()), max(PRUNED_TOGETHER // plan.net.layout.size, 1))

    def some(first: int) -> list[bool]:
        last = min(first + share, len(cells))
        return prune_here(plan, block.part(first, last), cells[first:last], index[first:last], rows, moment)

    found = workers.each(some, range(0, len(cells), share))
    return [was for part in found for was in part]


def prune_here(plan: Plan, block: Population, cells: list[int], index: Tensor, rows: Rows, moment: int) -> list[bool]:
    """The same with this core alone."""
    pruning, generation = plan.pruning, block.generation
    nobody = [False] * len(cells)
    if pruning is None:
        return nobody
    if pruning.chance is not None:
        fired = fires(pruning, plan.training.seed, generation, cells)
        if not any(fired):
            return nobody
        which = torch.tensor([place for place, hit in enumerate(fired) if hit], device=index.device)
        hit = block.pick(which)
        evidence = gather(plan.net, pruning, plan.training, hit, index[which], (rows.train, rows.guide), moment)
        prune_published(plan.net, pruning, hit, evidence)
        if hit.spread is not None:
            hit.spread.reset()
        block.put(which, hit)
    else:
        start, end = (
            (generation + part / pruning.per_generation) / plan.training.generations for part in (moment, moment + 1)
        )
        before, after = (zeros_asked(plan.net, pruning, cells, progress) for progress in (start, end))
        exchanged = share_at(pruning.regrowth, pruning.regrowth_end, end)
        # Weights that may grow again are cut anew each time; lasting masks need it only when more is asked.
        if not any(after) or (after == before and pruning.lasting and not exchanged):
            return nobody
        fired = [count > 0 for count in after]
        evidence = gather(plan.net, pruning, plan.training, block, index, (rows.train, rows.guide), moment)
        prune_to(plan.net, pruning, block, evidence, after, exchanged)
        if block.spread is not None:
            block.spread.reset()
    return fired


def asked(plan: Plan, generation: int) -> float:
    """What the schedule asks for once ``generation`` generations (at least 1) are complete.

    A sparsity when driven by a target, the mean of the cells', else the last generation's chance to prune.
    """
    if plan.pruning is None:
        return 0.0
    if plan.pruning.chance is not None:
        return plan.pruning.chance(generation - 1)
    progress = generation / plan.training.generations
    shares = [target * curve(progress) for target, curve in zip(plan.pruning.targets, plan.pruning.curves, strict=True)]
    return sum(shares) / len(shares)


def measured_apart(plan: Plan, weights: Tensor, parts: Sequence[RowSet], poll: Poll) -> Measured:
    """Measure individuals ``weights`` ``[P, n]``; where each core trains blocks of its own, each measures its own."""
    if not plan.apart:
        return plan.engine.measure(plan.net, weights, parts, plan.measure, poll)

    def one(block: Tensor) -> Measured:
        return plan.engine.measure(plan.net, block, parts, plan.measure, poll)

    found = workers.each(one, list(torch.split(weights, plan.block)))
    losses = [torch.cat(values) for values in zip(*(each.losses for each in found), strict=True)]
    return Measured(losses, torch.cat([each.layer_zeros for each in found]))


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
    seen = rows.validation if population.generation == plan.training.generations else rows.glance
    parts = [rows.sample] if seen is rows.sample else [rows.sample, seen]
    losses, zeros = measured_apart(plan, population.weights, parts, poll)
    population.fitness.copy_(finite_or_inf(losses[-1]))
    return Report(losses[0], losses[-1], zeros, parents, pruned, order or [])
