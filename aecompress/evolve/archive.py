"""The archive: the pairs that no other beats in both loss and non-zeros, filled up between the ring's budgets.

After the last generation the ring holds one pair for each budget. Between two budgets there is room for more, and they
cost little, because they begin where their neighbours ended: the denser neighbour's encoder and decoder, or either of
them with the sparser neighbour's other half, cut to a size between the two and fine-tuned.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import check_trained
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.operators import wanda
from aecompress.evolve.pruning import Pruning, cut, evidence_of
from aecompress.evolve.select import keep_units, keep_weights, per_unit
from aecompress.evolve.visit import visit_all
from aecompress.nets.autoencoder import layer_zeros, reconstruction_loss
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.rows import picked
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.registry import RULES
from aecompress.transfer import on_host

PER_GAP = 2
"""Members that are interpolated between two budgets."""
FINE_TUNE_RATE = 0.2
"""Share of the peak learning rate that they begin with; it falls to 0 by half a cosine."""
FINE_TUNE_SHARE = 1 / 30
"""Steps that they are trained, as a share of the run's."""
FINE_TUNE_DRAW = "polish"
"""Names the draw of the rows of a short fine-tuning. It decides bits, so that it never changes."""
NARROWEST = 0.95
"""Budgets are left alone when the sparser has more than this share of the denser's non-zeros."""
INTERPOLATED = -1
"""The cell of a member that was interpolated between two cells."""


@dataclass(frozen=True)
class Archive:
    """Non-dominated pairs, fewest non-zeros first."""

    members: Population
    """A individuals."""
    losses: list[float]
    """On all validation rows."""
    nonzeros: list[int]
    cells: list[int]
    """The cell each is the pair of; :data:`INTERPOLATED` for one between two cells."""


class Candidate(NamedTuple):
    """What a member of the archive is judged by."""

    nonzeros: int
    loss: float
    cell: int


def archive(plan: Plan, population: Population, rows: Rows, poll: Poll) -> Archive:
    """Return the non-dominated pairs of a ring whose generations are complete; with own budgets, filled up.

    Members whose weights are rounded are not interpolated between: rounding takes longer than a short fine-tuning.
    """
    population = dataclasses.replace(population, weights=plan.seen(population))
    filled = RULES[plan.rule].own_budgets and plan.quantization is None
    interpolated = interpolate(plan, population, rows, poll) if filled else None
    found = candidates(plan, population, list(range(len(population))), rows, poll)
    members = population
    if interpolated is not None:
        found += candidates(plan, interpolated, [INTERPOLATED] * len(interpolated), rows, poll)
        members = concatenate(population, interpolated)
    kept = non_dominated(found)
    return Archive(
        members.pick(torch.tensor(kept, dtype=torch.int64, device=population.weights.device)),
        [found[at].loss for at in kept],
        [found[at].nonzeros for at in kept],
        [found[at].cell for at in kept],
    )


def candidates(plan: Plan, block: Population, cells: list[int], rows: Rows, poll: Poll) -> list[Candidate]:
    """Evaluate each individual of ``block`` on all validation rows; ``cells`` say where they are from."""
    found = plan.engine.evaluate(plan.net, block.weights, [rows.validation], plan.metric, poll)
    faults = [] if found.fault is None else [found.fault]
    zeros, losses, *faulty = on_host(found.layer_zeros.sum(1), finite_or_inf(found.losses[0]), *faults)
    check_trained([each for fault in faulty for each in fault], block.weights.device)
    figures = zip(zeros, losses, cells, strict=True)
    return [Candidate(plan.net.model_size - count, loss, cell) for count, loss, cell in figures]


def non_dominated(found: list[Candidate]) -> list[int]:
    """Return the places of the candidates with a finite loss that no other beats in both, fewest non-zeros first."""
    kept: list[int] = []
    for at in sorted(range(len(found)), key=lambda at: (found[at].nonzeros, found[at].loss, at)):
        loss = found[at].loss
        if math.isfinite(loss) and (not kept or loss < found[kept[-1]].loss):
            kept.append(at)
    return kept


def concatenate(first: Population, second: Population) -> Population:
    """Return both populations as one."""
    whole = first.pick(torch.cat([first.places, second.places % len(first)]))
    mine = whole.tensors()
    for name, tensor in second.tensors().items():
        mine[name][len(first) :] = tensor
    return dataclasses.replace(whole, cells=torch.cat([first.cells, second.cells]))


class Gaps(NamedTuple):
    """What is interpolated between the budgets of neighbouring cells."""

    denser: list[int]
    """The cell with more non-zeros."""
    sparser: list[int]
    zeros: list[int]
    """What the new member has of them."""


def gaps(nonzeros: list[int], size: int) -> Gaps:
    """Return :data:`PER_GAP` sizes between each two neighbouring ones of ``nonzeros``, in equal ratios.

    Args:
        nonzeros: of each cell.
        size: parameters of an individual.
    """
    found = Gaps([], [], [])
    order = sorted(range(len(nonzeros)), key=lambda cell: (-nonzeros[cell], cell))
    for one, other in pairwise(order):
        if nonzeros[other] <= NARROWEST * nonzeros[one]:
            for step in range(1, PER_GAP + 1):
                kept = nonzeros[one] * (nonzeros[other] / nonzeros[one]) ** (step / (PER_GAP + 1))
                found.denser.append(one)
                found.sparser.append(other)
                found.zeros.append(size - round(kept))
    return found


def interpolate(plan: Plan, population: Population, rows: Rows, poll: Poll) -> Population | None:
    """Return members between the budgets of neighbouring cells, fine-tuned; None where there is no room."""
    assert plan.pruning is not None
    net, size = plan.net, plan.net.model_size
    nonzeros = [size - zeros for zeros in layer_zeros(net, population.weights).sum(1).tolist()]
    found = gaps(nonzeros, size)
    if not found.zeros:
        return None
    device = population.weights.device
    dense, sparse = torch.tensor(found.denser, device=device), torch.tensor(found.sparser, device=device)
    best: Population | None = None
    for encoders, decoders in ((dense, dense), (dense, sparse), (sparse, dense)):
        rival = population.pair(encoders, decoders, net)
        rival = dataclasses.replace(rival, cells=rival.places)
        cut_to(plan, plan.pruning, rival, rows, found.zeros)
        views = net.layout.views(rival.weights)
        rival.fitness.copy_(finite_or_inf(reconstruction_loss(net, views, rows.validation_sample, plan.metric, poll)))
        best = rival if best is None else take_better(best, rival)
    assert best is not None
    fine_tune(plan, best, rows, poll)
    return best


def take_better(mine: Population, rival: Population) -> Population:
    """Take of each individual the one with the lower fitness; updates ``mine`` and returns it."""
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
    evidence = evidence_of(net, pruning, plan.training, block, (rows.train, rows.guide), 0)
    scores = wanda(evidence)
    if pruning.granularity == "unit":
        keep = keep_units(net, per_unit(net, scores), block.masks, counts)
    else:
        keep = keep_weights(net, scores, block.masks, counts)
    cut(net, pruning, block, keep & block.masks)


def fine_tune(plan: Plan, block: Population, rows: Rows, poll: Poll) -> None:
    """Train the individuals of ``block`` for a while with a rate that falls to 0; what is pruned stays so. In place."""
    generations, count = plan.training.generations, rows.train.shape[0]
    more = max(1, round(FINE_TUNE_SHARE * generations))
    if FINE_TUNE_SHARE * generations < 1:  # less than a pass: on some of the rows
        few = max(round(FINE_TUNE_SHARE * generations * count), min(plan.training.batch, count))
        key = block.cells[:1] * 0  # one draw for all cells
        index = rng.sample(plan.training.seed, FINE_TUNE_DRAW, generations, key, 0, count, count=few)[0]
        rows = dataclasses.replace(rows, train=picked(rows.train, index))

    def rate(progress: float) -> float:
        done = progress * (generations + more) - generations  # in generations
        return FINE_TUNE_RATE * (1 + math.cos(math.pi * done / more)) / 2

    training = dataclasses.replace(plan.training, generations=generations + more, rate=rate)
    shorter = dataclasses.replace(plan, training=training, pruning=None)
    for generation in range(generations, generations + more):
        block.generation = generation
        visit_all(shorter, block, list(range(len(block))), rows, poll)
