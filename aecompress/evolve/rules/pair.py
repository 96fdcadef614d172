"""A tournament in every neighbourhood, then the winner trains and is pruned in the cell (ALGORITHMS A4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import rng
from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.ring import RingLosses, RingWinners, Winners, drawn_members, selection_batches
from aecompress.evolve.topology import Topology
from aecompress.evolve.visit import Trainer, visit_all
from aecompress.nets.layers import forward
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.transfer import on_device


@dataclass(frozen=True)
class Selected:
    """The pairs that some cells selected from their neighbourhoods."""

    source: Population
    """The individuals as the cells saw them."""
    cells: Tensor
    """int64 ``[K]``: the cells that selected."""
    members: Tensor
    """int64 ``[K, n]``: their neighbourhoods."""
    winner: Tensor
    """int64 ``[K]``: which member won."""

    @property
    def parents(self) -> Tensor:
        """Return the winners' cells, int64 ``[K]``."""
        return self.members.gather(1, self.winner[:, None])[:, 0]

    def part(self, here: slice) -> Selected:
        """Return what some of the cells selected, which follow each other."""
        return Selected(self.source, self.cells[here], self.members[here], self.winner[here])


TrainerOf = Callable[[Selected], Trainer]
"""Gives the training of a block, whose cells have selected."""


def pair(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Train every cell's winner, then prune it, as published."""
    return visit_selected(plan, last, rows, poll)


def pair_prune_first(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Prune every cell's winner, then train it."""
    return visit_selected(plan, last, rows, poll, prune_first=True)


def visit_selected(
    plan: Plan,
    last: Population,
    rows: Rows,
    poll: Poll,
    *,
    trainer_of: TrainerOf | None = None,
    prune_first: bool = False,
) -> Visited:
    """Let every cell select a pair from its neighbourhood and visit it, in the plan's order.

    Args:
        trainer_of: gives the training of a block, where it is not the engine's.
        prune_first: as of :func:`aecompress.evolve.visit.visit_all`.
    """
    order = {"synchronous": synchronous, "asynchronous": asynchronous}[plan.neighbourhood.order]
    return order(plan, last, rows, poll, trainer_of=trainer_of, prune_first=prune_first)


def synchronous(
    plan: Plan, last: Population, rows: Rows, poll: Poll, *, trainer_of: TrainerOf | None, prune_first: bool
) -> Visited:
    """Visit all cells at once: every cell reads its neighbours as the last generation left them."""
    near, places = plan.neighbourhood, last.places
    batches = selection_batches(plan, last.generation, last.cells, rows.train)
    drawn = drawn_members(plan, last.generation, last.cells)
    winners = RingWinners(RingLosses(plan.net, near.topology, plan.metric), near.concept)
    winner = plan.engine.compute(winners, poll, last.weights, batches, drawn)
    selected = Selected(last, places, near.topology.neighbours(places), winner)
    parents = selected.parents
    new = last.take(parents)
    start_stats(plan, new, batches.expand(len(new), -1, -1))
    trainer = trainer_among(selected, trainer_of)
    cells = list(range(len(new)))
    pruned = visit_all(plan, new, cells, rows, poll, trainer_of=trainer, prune_first=prune_first)
    return Visited(population=new, parents=parents, pruned=pruned, order=[])


def asynchronous(
    plan: Plan, last: Population, rows: Rows, poll: Poll, *, trainer_of: TrainerOf | None, prune_first: bool
) -> Visited:
    """Visit one cell after the other, as published: by index in the first generation and shuffled afterwards, each
    cell seeing the centres that are already updated.

    Cells that are not neighbours do not see each other, so those whose turn has come are visited together.
    """
    near, size = plan.neighbourhood, len(last)
    batches = selection_batches(plan, last.generation, last.cells, rows.train).expand(size, -1, -1)
    new, parents, pruned = last.copy(), torch.empty_like(last.places), [False] * size
    order = visiting_order(plan.training.seed, last.generation, size)
    winners = Winners(plan.net, plan.metric, near.concept)
    for turn in waves(order, near.topology):
        cells = on_device(turn, parents.device)
        members = near.topology.neighbours(cells)  # [K, n]
        drawn = drawn_members(plan, last.generation, new.cells[cells])
        winner = plan.engine.compute(winners, poll, new.weights, members, batches[cells], drawn)
        selected = Selected(new.copy() if trainer_of else new, cells, members, winner)
        of = parents[cells] = selected.parents
        chosen = new.take(of, cells)
        start_stats(plan, chosen, batches[cells])
        trainer = trainer_among(selected, trainer_of)
        found = visit_all(plan, chosen, turn, rows, poll, trainer_of=trainer, prune_first=prune_first)
        new.put(cells, chosen)
        for cell, now in zip(turn, found, strict=True):
            pruned[cell] = now
    return Visited(population=new, parents=parents, pruned=pruned, order=order)


def trainer_among(selected: Selected, trainer_of: TrainerOf | None) -> Callable[[slice], Trainer] | None:
    """Return the training of a block by its place among those that selected."""
    return None if trainer_of is None else lambda here: trainer_of(selected.part(here))


def waves(order: list[int], topology: Topology) -> list[list[int]]:
    """Group the visits of ``order``: each cell comes after the neighbours before it, and before those after it."""
    turn = dict[int, int]()
    for cell in order:
        turn[cell] = 1 + max((turn[other] for other in topology.near(cell) if other in turn), default=-1)
    return [[cell for cell in order if turn[cell] == number] for number in range(max(turn.values()) + 1)]


def visiting_order(seed: int, generation: int, size: int) -> list[int]:
    """Return the order in which cells are visited, drawn on the host."""
    if generation == 0:
        return list(range(size))
    order: list[int] = rng.host(seed, "visits", generation).permutation(size).tolist()
    return order


def start_stats(plan: Plan, block: Population, batches: Tensor) -> None:
    """Begin a visit's activation statistics with the selected pair on its selection batch, ``[P, B, D]``. In place."""
    if block.stats is not None:
        block.stats.reset()
        weights = plan.net.layout.views(block.weights)
        block.stats.add(plan.net, forward(plan.net.layers, weights, batches))
