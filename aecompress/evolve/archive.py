"""The archive: the pairs that no other beats in both loss and non-zeros, filled up between the ring's budgets.

After the last generation the ring holds one pair for each budget. Between two budgets there is room for more, and they
cost little, because they begin where their neighbours ended: the denser neighbour's encoder and decoder, or either of
them with the sparser neighbour's other half, cut to a size between the two and trained on for a short while.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Poll
from aecompress.engines.eager import layer_zeros
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.operators import OPERATORS
from aecompress.evolve.pruning import Pruning, cut, gather
from aecompress.evolve.select import keep_units, keep_weights, per_unit
from aecompress.evolve.visit import visit_all
from aecompress.nets.autoencoder import reconstruction_loss
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.rows import picked
from aecompress.population.state import Population

BETWEEN = 2
"""Members that are made between two budgets."""
POLISH = 0.2
"""Share of the peak learning rate that they begin with; it falls to 0 by half a cosine."""
POLISH_SHARE = 1 / 30
"""Steps that they are trained, as a share of the run's."""
NARROWEST = 0.95
"""Budgets are left alone when the sparser has more than this share of the denser's non-zeros."""
MADE = -1
"""The cell of a member that was made between two cells."""


@dataclass(frozen=True)
class Archive:
    """Non-dominated pairs, fewest non-zeros first."""

    members: Population
    """A individuals."""
    losses: list[float]
    """On all validation rows."""
    nonzeros: list[int]
    cells: list[int]
    """The cell each is the pair of; :data:`MADE` for one made between two cells."""


def archive(plan: Plan, population: Population, rows: Rows, poll: Poll) -> Archive:
    """The non-dominated pairs of a ring whose generations are complete; under dominance, filled up."""
    made = between(plan, population, rows, poll) if plan.ring is not None and plan.ring.dominance else None
    losses, zeros = evaluate(plan, population, rows, poll)
    found = [
        (plan.net.model_size - z, loss, cell, None) for cell, (loss, z) in enumerate(zip(losses, zeros, strict=True))
    ]
    everyone = population
    if made is not None:
        more, fewer = evaluate(plan, made, rows, poll)
        found += [(plan.net.model_size - z, loss, MADE, None) for loss, z in zip(more, fewer, strict=True)]
        everyone = joined(population, made)
    order = sorted(range(len(found)), key=lambda at: (found[at][:2], at))
    held: list[int] = []
    for at in order:
        if math.isfinite(found[at][1]) and (not held or found[at][1] < found[held[-1]][1]):
            held.append(at)
    index = torch.tensor(held, dtype=torch.int64, device=population.weights.device)
    return Archive(
        everyone.pick(index),
        [found[at][1] for at in held],
        [found[at][0] for at in held],
        [found[at][2] for at in held],
    )


def evaluate(plan: Plan, block: Population, rows: Rows, poll: Poll) -> tuple[list[float], list[int]]:
    """Loss on all validation rows and zeros of each individual of ``block``."""
    losses = plan.engine.evaluate(plan.net, block.weights, [rows.validation], plan.metric, poll).losses[0]
    return finite_or_inf(losses).tolist(), layer_zeros(plan.net, block.weights).sum(1).tolist()


def joined(first: Population, second: Population) -> Population:
    """Both populations as one."""
    whole = first.pick(torch.cat([first.cells, second.cells % len(first.cells)]))
    mine = whole.tensors()
    for name, tensor in second.tensors().items():
        mine[name][len(first.cells) :] = tensor
    return whole


def between(plan: Plan, population: Population, rows: Rows, poll: Poll) -> Population | None:
    """Members between the budgets of neighbouring cells, trained for a while; None where there is no room."""
    assert plan.pruning is not None
    size = plan.net.model_size
    nonzeros = [size - zeros for zeros in layer_zeros(plan.net, population.weights).sum(1).tolist()]
    order = sorted(range(len(nonzeros)), key=lambda cell: (-nonzeros[cell], cell))
    denser, sparser, counts = [], [], []
    for one, other in pairwise(order):
        if nonzeros[other] <= NARROWEST * nonzeros[one]:
            for step in range(1, BETWEEN + 1):
                kept = nonzeros[one] * (nonzeros[other] / nonzeros[one]) ** (step / (BETWEEN + 1))
                denser.append(one)
                sparser.append(other)
                counts.append(size - round(kept))
    if not counts:
        return None
    device = population.weights.device
    here, there = torch.tensor(denser, device=device), torch.tensor(sparser, device=device)
    chosen: Population | None = None
    for encoders, decoders in ((here, here), (here, there), (there, here)):
        rival = population.pair(encoders, decoders, plan.net)
        cut_to(plan, plan.pruning, rival, rows, counts)
        rival.fitness.copy_(
            finite_or_inf(
                reconstruction_loss(
                    plan.net, plan.net.layout.views(rival.weights), rows.validation_sample, plan.metric, poll
                )
            )
        )
        chosen = rival if chosen is None else better(chosen, rival)
    assert chosen is not None
    polish(plan, chosen, rows, poll)
    return chosen


def better(mine: Population, rival: Population) -> Population:
    """Of each individual the one with the lower fitness; updates ``mine``."""
    wins: Tensor = rival.fitness < mine.fitness
    theirs = rival.tensors()
    for name, tensor in mine.tensors().items():
        torch.where(wins.view(-1, *[1] * (tensor.ndim - 1)), theirs[name], tensor, out=tensor)
    return mine


def cut_to(plan: Plan, pruning: Pruning, block: Population, rows: Rows, counts: list[int]) -> None:
    """Prune individual i to ``counts[i]`` zeros, or leave it where it has more. In place.

    By wanda's score, which of all costs least where weights go at once (docs/quality.md).
    """
    net = plan.net
    evidence = gather(net, pruning, plan.training, block, block.cells, (rows.train, rows.guide), 0)
    scores = OPERATORS["wanda"].score(evidence)
    if pruning.granularity == "unit":
        keep = keep_units(net, per_unit(net, scores), block.masks, counts)
    else:
        keep = keep_weights(net, scores, block.masks, counts)
    cut(net, pruning, block, keep & block.masks)


def polish(plan: Plan, block: Population, rows: Rows, poll: Poll) -> None:
    """Train the individuals of ``block`` for a while with a rate that falls to 0; what is pruned stays so. In place."""
    generations, count = plan.training.generations, rows.train.shape[0]
    more = max(1, round(POLISH_SHARE * generations))
    if POLISH_SHARE * generations < 1:  # less than a pass: on some of the rows
        few = max(round(POLISH_SHARE * generations * count), min(plan.training.batch, count))
        index = rng.sample(plan.training.seed, "polish", generations, block.cells[:1] * 0, 0, count, few)[0]
        rows = dataclasses.replace(rows, train=picked(rows.train, index))

    def rate(progress: float) -> float:
        return POLISH * (1 + math.cos(math.pi * (progress * (generations + more) - generations) / more)) / 2

    training = dataclasses.replace(plan.training, generations=generations + more, rate=rate)
    shorter = dataclasses.replace(plan, training=training, pruning=None, ring=None)
    for generation in range(generations, generations + more):
        block.generation = generation
        visit_all(shorter, block, list(range(len(block.cells))), rows, poll)
