"""A run as events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from aecompress import events
from aecompress.evolve.base import Report, Rows
from aecompress.evolve.report import scheduled
from aecompress.nets.layers import forward
from aecompress.nets.losses import LOSSES
from aecompress.plan.counts import cells_of
from aecompress.population.state import Population
from aecompress.runs.choose import best_cell
from aecompress.runs.job import Job

PREVIEW_ROWS = 4


PREVIEW_INPUTS = 20_000
"""Wider rows are not shown: their pictures would fill the log."""


PREVIEWS = 20
"""Previews over a whole run."""


def has_started(where: Path) -> bool:
    """Whether the log says that the run began; a kill may have come before."""
    return any(isinstance(event, events.Started) for event in events.read_log(where / "events.jsonl"))


def started(job: Job) -> events.Started:
    """The first event of a run."""
    return events.Started(
        time.time(),
        events.VERSION,
        job.folder.name,
        job.spec.model_dump(mode="json"),
        job.net.model_size,
        cells_of(job.spec),
        job.plan.training.generations,
        tuple(layer.name for layer in job.net.layers),
        {name: len(part) for name, part in job.dataset.splits.items()},
        job.dataset.shape,
        str(job.device),
        f"{job.plan.engine.name} ({job.resolved.sources['compile']})",
    )


def generation_events(
    job: Job, population: Population, figures: Report, rows: Rows, seconds: float
) -> Iterator[events.Event]:
    """A completed generation as events; the one place where a generation's tensors are read.

    Raises:
        RunError: every cell is lost.
    """
    now, number, net, plan = time.time(), population.generation, job.net, job.plan
    zeros = figures.layer_zeros.tolist()
    sizes = [(layer.inputs + 1) * layer.outputs for layer in net.layers]
    sparsity = [sum(row) / net.model_size for row in zeros]
    yield events.Generation(
        now,
        number,
        plan.metric,
        tuple(figures.train_loss.tolist()),
        tuple(figures.validation_loss.tolist()),
        tuple(sparsity),
        tuple(population.learning_rate.tolist()),
        tuple(figures.parents.tolist()),
        tuple(figures.order),
        tuple(population.capacity.tolist()),
        scheduled(plan, number),
        sum(sparsity) / len(sparsity),
        seconds,
    )
    names = tuple(layer.name for layer in net.layers)
    yield events.LayerSparsity(
        now, number, names, tuple(tuple(z / n for z, n in zip(row, sizes, strict=True)) for row in zeros)
    )
    cut = [cell for cell, pruned in enumerate(figures.pruned) if pruned]
    if cut:
        yield events.Pruned(now, number, tuple(cut), tuple(sum(zeros[cell]) for cell in cut))
    best = best_cell(job, population)
    if net.layers[0].inputs <= PREVIEW_INPUTS and (
        number == plan.training.generations or number % max(1, plan.training.generations // PREVIEWS) == 0
    ):
        shown = rows.validation[:PREVIEW_ROWS]
        weights = net.layout.views(population.weights[best : best + 1])
        out = forward(net.layers, weights, shown[None]).out[-1][0]
        errors = tuple(LOSSES[plan.metric].value(out, shown).mean(1).tolist())
        yield events.Preview(now, number, best, rounded(shown), rounded(out), errors)


def rounded(values: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    """Rows at the three decimals a picture needs."""
    return tuple(tuple(round(value, 3) for value in row) for row in values.tolist())
