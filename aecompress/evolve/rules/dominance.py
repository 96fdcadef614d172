"""Cells with budgets of their own, each of which takes the best pair near it where that beats its own."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from aecompress import rng
from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.pruning import evidence_of, prune_to, target_zeros
from aecompress.evolve.ring import RingLosses
from aecompress.evolve.visit import visit_all
from aecompress.nets.layers import forward
from aecompress.nets.losses import finite_or_inf, mean_loss
from aecompress.nets.places import as_rows
from aecompress.nets.rows import gather
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.transfer import on_device

SELECTION_ROWS = 512
"""Validation rows that a generation's selection looks at."""


def dominance(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Train and prune every cell's own pair, or the pair of its neighbourhood that dominates it.

    Of all encoders and decoders in a cell's neighbourhood, in any combination, the one pair with the lowest loss on
    validation rows challenges the cell's own: it is cut to the zeros the cell has by now, and takes the cell if its
    loss is lower still, so that it is better with no more weights.
    """
    size, there = len(last), rows.validation.shape[0]
    count, key = min(SELECTION_ROWS, there), last.cells[:1] * 0  # one draw for all cells
    index = rng.sample(plan.training.seed, "selection", last.generation, key, 0, there, count=count)
    batch = gather(rows.validation, index)  # [1, B, D]
    own, encoders, decoders = best_nearby(plan, last, batch, poll)
    rivals = dataclasses.replace(last.pair(encoders, decoders, plan.net), cells=last.cells)
    cut_to_budget(plan, rivals, rows)
    wins = dominating(plan, last, rivals, batch, own)
    new = last.copy()
    for name, tensor in rivals.tensors().items():
        mine = new.tensors()[name]
        if name != "learning_rate":
            torch.where(wins.view(-1, *[1] * (mine.ndim - 1)), tensor, mine, out=mine)
    parents = torch.where(wins, encoders, last.places)
    pruned = visit_all(plan, new, list(range(size)), rows, poll)
    return Visited(population=new, parents=parents, pruned=pruned, order=[])


def best_nearby(plan: Plan, last: Population, batch: Tensor, poll: Poll) -> tuple[Tensor, Tensor, Tensor]:
    """Return every cell's own loss on ``batch`` ``[1, B, D]``, and the best other encoder and decoder near it.

    ``[P]`` each: the losses, and the numbers of the cells.
    """
    net, topology = plan.net, plan.neighbourhood.topology
    losses = plan.engine.compute(RingLosses(net, topology, plan.metric), poll, last.weights, batch)
    own, members = losses[:, 0, 0].clone(), losses.shape[1]
    losses[:, 0, 0] = torch.inf
    best = losses.flatten(1).argmin(1)
    near = topology.neighbours(last.places)
    encoders, decoders = (near.gather(1, which[:, None])[:, 0] for which in (best // members, best % members))
    return own, encoders, decoders


def dominating(plan: Plan, last: Population, rivals: Population, batch: Tensor, own: Tensor) -> Tensor:
    """Return which of ``rivals`` have a lower loss than the cell's ``own`` with no more weights, bool ``[P]``."""
    net = plan.net
    out = forward(net.layers, net.layout.views(rivals.weights), batch.expand(len(last), -1, -1)).out[-1]
    wins = finite_or_inf(mean_loss(plan.metric, as_rows(out), batch)) < own
    wins &= rivals.masks.sum(1) <= last.masks.sum(1)
    if plan.pruning is not None:
        wins &= on_device(plan.pruning.targets, wins.device) > 0  # the dense cell is what others compare with
    return wins


def cut_to_budget(plan: Plan, block: Population, rows: Rows) -> None:
    """Prune every cell of ``block`` to its target zeros of this generation. In place."""
    pruning = plan.pruning
    if pruning is None:
        return
    counts = target_zeros(plan.net, pruning, list(range(len(block))), block.generation / plan.training.generations)
    if any(counts):
        guide = (rows.train, rows.guide)
        evidence = evidence_of(plan.net, pruning, plan.training, block, guide, pruning.per_generation)
        prune_to(plan.net, pruning, block, evidence, counts)
