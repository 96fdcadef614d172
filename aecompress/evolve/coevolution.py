"""Coevolution: a ring of encoders and decoders that are selected together, train, and are pruned (ALGORITHMS A4)."""

from __future__ import annotations

import torch
from torch import Tensor

from aecompress import rng
from aecompress.evolve.plan import Plan, Poll, Report, Rows, report, visit, visit_all
from aecompress.evolve.population import Population
from aecompress.evolve.ring import (
    fitness,
    member_losses,
    offsets,
    ring_losses,
    selection_batches,
    tournament,
)
from aecompress.nets.layers import forward

LOWEST_RATE, HIGHEST_RATE = 1e-9, 10.0
"""Bounds of a walking learning rate."""


def coevolution(plan: Plan, last: Population, rows: Rows, poll: Poll) -> tuple[Population, Report]:
    """One generation: select, train and prune every cell, measure, let the learning rates walk.

    ``last`` stays as it is; the returned population is new.
    """
    assert plan.ring is not None
    evolve = one_after_the_other if plan.ring.asynchronous else all_at_once
    new, parents, pruned, order = evolve(plan, last, rows, poll)
    new.generation += 1
    figures = report(plan, new, rows, parents, pruned, poll, order)
    if plan.ring.walk:
        step = rng.normal(plan.training.seed, "rate-walk", last.generation, last.cells, 0, ())
        new.learning_rate.add_(step.to(new.learning_rate.dtype), alpha=plan.ring.walk)
        new.learning_rate.clamp_(LOWEST_RATE, HIGHEST_RATE)
    return new, figures


Visited = tuple[Population, Tensor, list[bool], list[int]]
"""The new individuals, whom each was copied from, which were pruned, and the order of the visits."""


def all_at_once(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Synchronous order: every cell reads its neighbours as the last generation left them."""
    ring, cells = plan.ring, last.cells
    assert ring is not None
    batches = selection_batches(plan, last.generation, cells, rows.train)
    losses = ring_losses(plan.net, plan.net.layout.views(last.weights), batches, ring.radius, plan.measure, poll)
    winner = tournament(plan, last.generation, cells, fitness(losses, ring.concept))
    places = torch.tensor(offsets(ring.radius), device=cells.device)
    parents = (cells + places[winner]) % cells.shape[0]
    new = last.take(parents)
    remember_selection(plan, new, batches.expand(cells.shape[0], -1, -1))
    return new, parents, visit_all(plan, new, rows, poll), []


def one_after_the_other(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Asynchronous order, as published: by index in the first generation and shuffled afterwards, each cell seeing
    the centres that are already updated."""
    ring, cells = plan.ring, last.cells
    assert ring is not None
    size, generation = cells.shape[0], last.generation
    batches = selection_batches(plan, generation, cells, rows.train).expand(size, -1, -1)
    new = last.take(cells)
    parents = torch.empty_like(cells)
    pruned = [False] * size
    order = visiting_order(plan.training.seed, generation, size)
    for cell in order:
        members = torch.tensor([(cell + place) % size for place in offsets(ring.radius)], device=cells.device)
        weights = plan.net.layout.views(new.weights[members])
        batch = batches[cell : cell + 1]
        scores = fitness(member_losses(plan.net, weights, batch, plan.measure), ring.concept)
        parent = members[tournament(plan, generation, cells[cell : cell + 1], scores)]
        new.replace(cell, new, parent)
        parents[cell : cell + 1] = parent
        remember_selection(plan, new.block(cell, cell + 1), batch)
        pruned[cell : cell + 1] = visit(plan, new, cell, cell + 1, rows, poll)
    return new, parents, pruned, order


def visiting_order(seed: int, generation: int, size: int) -> list[int]:
    """The order in which cells are visited, drawn on the host."""
    if generation == 0:
        return list(range(size))
    order: list[int] = rng.host(seed, "visits", generation).permutation(size).tolist()
    return order


def remember_selection(plan: Plan, block: Population, batches: Tensor) -> None:
    """A visit's activation statistics begin with the selected pair on its selection batch, ``[P, B, D]``. In place."""
    if block.spread is not None:
        block.spread.reset()
        weights = plan.net.layout.views(block.weights)
        block.spread.add(plan.net, forward(plan.net.layers, weights, batches))
