"""The networks of the selected pair train with others of the neighbourhood, and not with each other (ALGORITHMS A4)."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import PairWork, Work
from aecompress.engines.training import Step, batch_of, row_order, steps_per_generation
from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.rules.pair import Selected, visit_selected
from aecompress.evolve.visit import Trainer
from aecompress.polling import Poll
from aecompress.population.state import Population


def opponents(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Train every cell's winner with opponents of its neighbourhood, then prune it."""

    def trainer_of(selected: Selected) -> Trainer:
        return functools.partial(train_with_opponents, plan, opponents_of(selected))

    return visit_selected(plan, last, rows, poll, trainer_of=trainer_of)


@dataclass(frozen=True)
class Opponents:
    """Copies of the neighbourhoods of K cells, which train with the pairs that were selected from them."""

    members: Population
    """``[K n]``: cell after cell, each with its neighbourhood; with the cell's learning rate."""
    selected: Tensor
    """int64 ``[K]``: which of them is each cell's selected pair."""
    size: int
    """Members of a neighbourhood, n."""


def opponents_of(selected: Selected) -> Opponents:
    """Return copies of the neighbourhoods that some cells selected from."""
    count, size = selected.members.shape
    bare = dataclasses.replace(selected.source, stats=None)
    members = bare.take(selected.members.flatten(), selected.cells.repeat_interleave(size))
    first = torch.arange(count, device=selected.cells.device) * size
    return Opponents(members, first + selected.winner, size)


def train_with_opponents(plan: Plan, opponents: Opponents, work: Work) -> None:
    """Train a block: two updates per batch, with opponents drawn anew.

    The selected encoder learns with a random decoder of the neighbourhood, then a random encoder of it with the
    selected decoder. Both networks of an update change, so that opponents learn within the visit; only the selected
    pair outlives it. Activation statistics are those of the selected encoder and of the selected decoder.

    Updates ``work.block`` and ``opponents.members`` in place.
    """
    training, block, cells, members = work.training, work.block, work.cells, opponents.members
    count = steps_per_generation(work.rows.shape[0], training.batch)
    bare = dataclasses.replace(block, stats=None)
    members.put(opponents.selected, bare)  # as pruned since the last part
    order = row_order(training, block.generation, cells, work.rows)
    for step in work.steps:
        work.poll()
        batch = batch_of(training, work.rows, order, step)  # [K, B, D]
        drawn = rng.integers(training.seed, "opponents", block.generation, cells, step, (2,), high=opponents.size)
        decoder, encoder = (block.places[:, None] * opponents.size + drawn).unbind(1)
        for turn, pair in enumerate(((opponents.selected, decoder), (encoder, opponents.selected))):
            pair_work = PairWork(
                net=work.net,
                training=training,
                individuals=members,
                encoders=pair[0],
                decoders=pair[1],
                keys=cells,
                batch=batch,
                step=Step(step, count, turn),
            )
            trace = plan.engine.train_pairs(pair_work)
            if block.stats is not None:
                block.stats.add(work.net, trace, block.places, "decoder" if turn else "encoder")
    bare.put(block.places, members.pick(opponents.selected))
