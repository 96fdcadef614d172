"""Training an encoder with a decoder of somebody else: the rules opponents and panmictic (ALGORITHMS A4)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Poll, TrainBlock
from aecompress.engines.training import Step, Training, steps_per_generation
from aecompress.evolve.base import Plan, Rows
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.rows import RowSet
from aecompress.population.state import Population


@dataclass(frozen=True)
class Company:
    """Copies of the neighbourhoods of K cells, which train with the pairs that were selected from them."""

    members: Population
    """``[K n]``: cell after cell, each with its neighbourhood; with the cell's learning rate."""
    selected: Tensor
    """int64 ``[K]``: which of them is each cell's selected pair."""
    size: int
    """Members of a neighbourhood, n."""


def company(source: Population, cells: Tensor, neighbours: Tensor, winner: Tensor) -> Company:
    """The company of ``cells`` ``[K]``, whose ``neighbours`` ``[K, n]`` are as in ``source``; ``winner`` ``[K]``."""
    count, size = neighbours.shape
    members = dataclasses.replace(
        source.take(neighbours.flatten()),
        learning_rate=source.learning_rate[cells].repeat_interleave(size),
        stats=None,
    )
    return Company(members, torch.arange(count, device=cells.device) * size + winner, size)


def with_opponents(plan: Plan, met: Company) -> TrainBlock:
    """Training of a block in its company: two updates per batch, with opponents drawn anew.

    The selected encoder learns with a random decoder of the neighbourhood, then a random encoder of it with the
    selected decoder. Both networks of an update change, so that opponents learn within the visit; only the selected
    pair outlives it. Activation statistics are those of the selected encoder and of the selected decoder.
    """

    def train(
        net: Autoencoder, training: Training, block: Population, cells: Tensor, rows: RowSet, steps: range, poll: Poll
    ) -> None:
        generation, batch_size = block.generation, training.batch
        count = steps_per_generation(rows.shape[0], batch_size)
        first = torch.arange(len(cells), device=cells.device)
        bare = dataclasses.replace(block, stats=None)
        met.members.put(met.selected, bare)  # as pruned since the last part
        order = rng.permutation(training.seed, "batches", generation, cells, 0, rows.shape[0])
        for step in steps:
            poll()
            index = order[:, step * batch_size : (step + 1) * batch_size]
            batch = rows.index_select(0, index.reshape(-1)).view(*index.shape, -1)  # [K, B, D]
            drawn = rng.integers(training.seed, "opponents", generation, cells, step, (2,), met.size)
            rival_decoder, rival_encoder = (first[:, None] * met.size + drawn).unbind(1)
            for turn, (encoders, decoders) in enumerate(((met.selected, rival_decoder), (rival_encoder, met.selected))):
                trace = plan.engine.together(
                    net, training, met.members, (encoders, decoders), cells, batch, Step(step, count, turn)
                )
                if block.stats is not None:
                    block.stats.add(net, trace, first, "decoder" if turn else "encoder")
        bare.put(first, met.members.pick(met.selected))

    return train


def panmictic_pass(plan: Plan, new: Population, rows: Rows, poll: Poll) -> list[int]:
    """Every encoder trains with every decoder for one pass, with two updates per batch; in place.

    Encoder by encoder in an order drawn anew, decoders by index. A pair needs its encoder as the pair before left it,
    and its decoder as the encoder before left it; so the pairs of a diagonal do not meet and train together.

    Returns:
        The order of the encoders.
    """
    training, size = plan.training, new.weights.shape[0]
    order: list[int] = rng.host(training.seed, "visits", new.generation).permutation(size).tolist()
    count = steps_per_generation(rows.train.shape[0], training.batch)
    single = dataclasses.replace(new, stats=None)
    for diagonal in range(2 * size - 1):
        turns = range(max(0, diagonal - size + 1), min(size, diagonal + 1))
        encoders = torch.tensor([order[turn] for turn in turns], device=new.weights.device)
        decoders = torch.tensor([diagonal - turn for turn in turns], device=new.weights.device)
        keys = encoders * size + decoders
        shuffled = rng.permutation(training.seed, "batches", new.generation, keys, 0, rows.train.shape[0])
        for step in range(count):
            poll()
            index = shuffled[:, step * training.batch : (step + 1) * training.batch]
            batch = rows.train.index_select(0, index.reshape(-1)).view(*index.shape, -1)
            for turn in (0, 1):
                trace = plan.engine.together(
                    plan.net, training, single, (encoders, decoders), keys, batch, Step(step, count, turn)
                )
                if new.stats is not None and not turn:
                    new.stats.add(plan.net, trace, encoders, "encoder")
                    new.stats.add(plan.net, trace, decoders, "decoder")
    return order
