"""No space and no selection: every encoder trains with every decoder (ALGORITHMS A4)."""

from __future__ import annotations

import dataclasses

from aecompress import rng
from aecompress.engines.base import PairWork
from aecompress.engines.training import Step, batch_of, row_order, steps_per_generation
from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.visit import prune
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.transfer import on_device


def panmictic(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Train every encoder with every decoder, then prune each encoder beside the decoder of its number."""
    new = last.copy()
    if new.stats is not None:
        new.stats.reset()
    order = train_all_pairs(plan, new, rows, poll)
    pruned = prune(plan, new, list(range(len(new))), rows, 0)
    return Visited(population=new, parents=last.places, pruned=pruned, order=order)


def train_all_pairs(plan: Plan, new: Population, rows: Rows, poll: Poll) -> list[int]:
    """Train every encoder with every decoder for one pass, with two updates per batch; in place.

    Encoder by encoder in an order drawn anew, decoders by index. A pair needs its encoder as the pair before left it,
    and its decoder as the encoder before left it; so the pairs of a diagonal do not meet and train together.

    Returns:
        The order of the encoders.
    """
    training, size, device = plan.training, len(new), new.weights.device
    order: list[int] = rng.host(training.seed, "visits", new.generation).permutation(size).tolist()
    count = steps_per_generation(rows.train.shape[0], training.batch)
    bare = dataclasses.replace(new, stats=None)
    for diagonal in range(2 * size - 1):
        turns = range(max(0, diagonal - size + 1), min(size, diagonal + 1))
        encoders = on_device([order[turn] for turn in turns], device)
        decoders = on_device([diagonal - turn for turn in turns], device)
        keys = encoders * size + decoders
        shuffled = row_order(training, new.generation, keys, rows.train)
        for step in range(count):
            poll()
            batch = batch_of(training, rows.train, shuffled, step)
            for turn in (0, 1):
                work = PairWork(
                    net=plan.net,
                    training=training,
                    individuals=bare,
                    encoders=encoders,
                    decoders=decoders,
                    keys=keys,
                    batch=batch,
                    step=Step(step, count, turn),
                )
                trace = plan.engine.train_pairs(work)
                if new.stats is not None and not turn:
                    new.stats.add(plan.net, trace, encoders, "encoder")
                    new.stats.add(plan.net, trace, decoders, "decoder")
    return order
