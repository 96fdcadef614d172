"""Coevolution: a ring of encoders and decoders that are selected together, train, and are pruned (ALGORITHMS A4)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Poll, TrainBlock
from aecompress.engines.training import walk_rates
from aecompress.evolve.base import Plan, Report, Rows
from aecompress.evolve.pairing import company, panmictic_pass, with_opponents
from aecompress.evolve.pruning import gather, prune_to, target_zeros
from aecompress.evolve.report import report
from aecompress.evolve.ring import (
    fitness,
    neighbour_losses,
    ring_losses,
    selection_batches,
    tournament,
)
from aecompress.evolve.topology import Topology
from aecompress.evolve.visit import prune, visit_all
from aecompress.nets.layers import forward
from aecompress.nets.losses import finite_or_inf, mean_loss
from aecompress.population.state import Population

SELECTION_ROWS = 512
"""Validation rows that a generation's selection by dominance looks at."""


def coevolution(plan: Plan, last: Population, rows: Rows, poll: Poll) -> tuple[Population, Report]:
    """One generation: select, train and prune every cell, metric, let the learning rates walk.

    ``last`` stays as it is; the returned population is new.
    """
    assert plan.ring is not None
    ring = plan.ring
    apart = one_after_the_other if ring.asynchronous else all_at_once
    evolve = everyone if ring.panmictic else by_dominance if ring.dominance else apart
    new, parents, pruned, order = evolve(plan, last, rows, poll)
    new.generation += 1
    figures = report(plan, new, rows, parents, pruned, poll, order)
    walk_rates(plan.training, new)
    if ring.panmictic:
        new.learning_rate.fill_(new.learning_rate[0].clone())  # one rate for all
    return new, figures


Visited = tuple[Population, Tensor, list[bool], list[int]]
"""The new individuals, whom each was copied from, which were pruned, and the order of the visits."""


def all_at_once(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Synchronous order: every cell reads its neighbours as the last generation left them."""
    ring, cells = plan.ring, last.cells
    assert ring is not None
    batches = selection_batches(plan, last.generation, cells, rows.train)
    losses = ring_losses(plan.net, plan.net.layout.views(last.weights), batches, ring.topology, plan.metric, poll)
    winner = tournament(plan, last.generation, cells, fitness(losses, ring.concept))
    near = ring.topology.neighbours(cells)
    parents = near.gather(1, winner[:, None])[:, 0]
    new = last.take(parents)
    remember_selection(plan, new, batches.expand(cells.shape[0], -1, -1))

    def meeting(index: Tensor) -> TrainBlock:
        return with_opponents(plan, company(last, index, near[index], winner[index]))

    train_of = meeting if ring.opponents else None
    return new, parents, visit_all(plan, new, list(range(cells.shape[0])), rows, poll, train_of), []


def everyone(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Rule panmictic: no space and no selection; then each encoder is pruned beside the decoder of its number."""
    new, cells = last.take(last.cells), last.cells
    if new.stats is not None:
        new.stats.reset()
    order = panmictic_pass(plan, new, rows, poll)
    pruned = prune(plan, new, list(range(cells.shape[0])), cells, rows, 0)
    return new, cells, pruned, order


def by_dominance(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Every cell keeps its pair, unless its neighbourhood has one that dominates it.

    Of all encoders and decoders in a cell's neighbourhood, in any combination, the one pair with the lowest loss on
    validation rows challenges the cell's own: it is cut to the zeros the cell has by now, and takes the cell if its
    loss is lower still, so that it is better with no more weights.
    """
    ring, cells, net = plan.ring, last.cells, plan.net
    assert ring is not None
    count = min(SELECTION_ROWS, rows.validation.shape[0])
    index = rng.sample(
        plan.training.seed, "selection", last.generation, cells[:1] * 0, 0, rows.validation.shape[0], count
    )
    batch = rows.validation.index_select(0, index[0])[None]
    losses = finite_or_inf(ring_losses(net, net.layout.views(last.weights), batch, ring.topology, plan.metric, poll))
    own, members = losses[:, 0, 0].clone(), losses.shape[1]
    losses[:, 0, 0] = torch.inf
    best = losses.flatten(1).argmin(1)
    near = ring.topology.neighbours(cells)
    encoders, decoders = (near.gather(1, which[:, None])[:, 0] for which in (best // members, best % members))
    rival = last.pair(encoders, decoders, net)
    cut_to_budget(plan, rival, rows)
    out = forward(net.layers, net.layout.views(rival.weights), batch.expand(cells.shape[0], -1, -1)).out[-1]
    kept = (last.masks.sum(1), rival.masks.sum(1))
    wins = (finite_or_inf(mean_loss(plan.metric, out, batch)) < own) & (kept[1] <= kept[0])
    if plan.pruning is not None:
        wins &= torch.tensor(plan.pruning.targets, device=wins.device) > 0  # the dense cell is what others compare with
    new = last.take(cells)
    for name, tensor in rival.tensors().items():
        mine = new.tensors()[name]
        if name != "learning_rate":
            torch.where(wins.view(-1, *[1] * (mine.ndim - 1)), tensor, mine, out=mine)
    parents = torch.where(wins, encoders, cells)
    return new, parents, visit_all(plan, new, list(range(cells.shape[0])), rows, poll), []


def cut_to_budget(plan: Plan, block: Population, rows: Rows) -> None:
    """Prune every cell of ``block`` to the zeros that its schedule has asked for by now. In place."""
    pruning = plan.pruning
    if pruning is None:
        return
    cells = list(range(block.weights.shape[0]))
    counts = target_zeros(plan.net, pruning, cells, block.generation / plan.training.generations)
    if any(counts):
        guide = (rows.train, rows.guide)
        evidence = gather(plan.net, pruning, plan.training, block, block.cells, guide, pruning.per_generation)
        prune_to(plan.net, pruning, block, evidence, counts)


def one_after_the_other(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Asynchronous order, as published: by index in the first generation and shuffled afterwards, each cell seeing
    the centres that are already updated.

    Cells that are not neighbours do not see each other, so those whose turn has come are visited together.
    """
    ring, cells = plan.ring, last.cells
    assert ring is not None
    size, generation = cells.shape[0], last.generation
    batches = selection_batches(plan, generation, cells, rows.train).expand(size, -1, -1)
    new = last.take(cells)
    parents = torch.empty_like(cells)
    pruned = [False] * size
    order = visiting_order(plan.training.seed, generation, size)
    for turn in waves(order, ring.topology):
        index = torch.tensor(turn, device=cells.device)
        members = ring.topology.neighbours(index)  # [K, n]
        losses = neighbour_losses(plan.net, new.weights, members, batches[index], plan.metric, poll)
        winner = tournament(plan, generation, index, fitness(losses, ring.concept))
        parents[index] = members.gather(1, winner[:, None])[:, 0]
        before = new.take(cells) if ring.opponents else new

        def meeting(
            part: Tensor, before: Population = before, index: Tensor = index, near: Tensor = members, k: Tensor = winner
        ) -> TrainBlock:
            at = (part[:, None] == index).to(torch.int8).argmax(1)
            return with_opponents(plan, company(before, part, near[at], k[at]))

        chosen = dataclasses.replace(new.take(parents[index]), learning_rate=new.learning_rate[index])
        remember_selection(plan, chosen, batches[index])
        new.put(index, chosen)
        train_of = meeting if ring.opponents else None
        for cell, was in zip(turn, visit_all(plan, new, turn, rows, poll, train_of), strict=True):
            pruned[cell] = was
    return new, parents, pruned, order


def waves(order: list[int], topology: Topology) -> list[list[int]]:
    """The visits of ``order`` in groups: each cell comes after the neighbours before it, and before those after it."""
    turn = dict[int, int]()
    for cell in order:
        turn[cell] = 1 + max((turn[other] for other in topology.near(cell) if other in turn), default=-1)
    return [[cell for cell in order if turn[cell] == number] for number in range(max(turn.values()) + 1)]


def visiting_order(seed: int, generation: int, size: int) -> list[int]:
    """The order in which cells are visited, drawn on the host."""
    if generation == 0:
        return list(range(size))
    order: list[int] = rng.host(seed, "visits", generation).permutation(size).tolist()
    return order


def remember_selection(plan: Plan, block: Population, batches: Tensor) -> None:
    """A visit's activation statistics begin with the selected pair on its selection batch, ``[P, B, D]``. In place."""
    if block.stats is not None:
        block.stats.reset()
        weights = plan.net.layout.views(block.weights)
        block.stats.add(plan.net, forward(plan.net.layers, weights, batches))
