"""A run as events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from aecompress import event_log, events
from aecompress.deploy.checkpoint import Model
from aecompress.deploy.verify import Verification
from aecompress.engines.base import check_trained
from aecompress.evolve.archive import Archive
from aecompress.evolve.base import Report, Rows
from aecompress.evolve.report import scheduled
from aecompress.layers.words import shapes_of
from aecompress.nets.layers import forward
from aecompress.nets.losses import LOSSES
from aecompress.nets.places import as_rows
from aecompress.population.state import Population
from aecompress.runs.choose import best_cell
from aecompress.runs.job import Job
from aecompress.runs.package import Package
from aecompress.transfer import beside, leaving, on_host

PREVIEW_ROWS = 4
PREVIEW_INPUTS = 20_000
"""Rows with more inputs are not shown: their pictures would fill the log."""
PREVIEWS = 20
"""Previews over a whole run."""


def has_started(folder: Path) -> bool:
    """Return whether the log has the first event of the run; a kill may have come before it."""
    return any(isinstance(event, events.Started) for event in event_log.read_log(folder / "events.jsonl"))


def started(job: Job) -> events.Started:
    """Return the first event of a run."""
    return events.Started(
        at=time.time(),
        version=events.VERSION,
        run=job.folder.name,
        spec=job.values,
        parameters=job.net.model_size,
        cells=job.first.cells,
        generations=job.plan.training.generations,
        layers=tuple(layer.name for layer in job.net.weighted),
        rows={name: len(part) for name, part in job.dataset.splits.items()},
        row_shape=job.dataset.shape,
        device=str(job.device),
        engine=f"{job.plan.engine.name} ({job.resolved.sources['compile']})",
        decisions=job.dataset.decisions,
        network=shapes_of(job.net.layers),
    )


class Figures(NamedTuple):
    """What is read of a generation's tensors: a value, or one per layer, for each cell."""

    train_loss: list[float]
    validation_loss: list[float]
    zeros: list[list[int]]
    parents: list[int]
    rates: list[float]
    capacity: list[float]
    fitness: list[float]


def figures(population: Population, report: Report) -> Callable[[], Figures]:
    """Begin to read a generation's tensors; the one place where that is done.

    Returns:
        Waits for them, and gives them, or raises DeviceError: training went wrong.
    """
    arrived = leaving(
        *(report.train_loss, report.validation_loss, report.layer_zeros, report.parents),
        *(population.learning_rate, population.capacity, population.fitness),
        *(() if report.fault is None else (report.fault,)),
    )

    def read() -> Figures:
        found = arrived()
        last = len(Figures._fields)
        check_trained([each for fault in found[last:] for each in fault], population.weights.device)
        return Figures(*found[:last])

    return read


class Done(NamedTuple):
    """A completed generation."""

    population: Population
    report: Report
    figures: Figures
    seconds: float


def generation(job: Job, done: Done, rows: Rows) -> Iterator[events.Event]:
    """Yield the events of a completed generation.

    Raises:
        RunError: no cell has a finite loss.
    """
    population, report, (train_loss, validation_loss, zeros, parents, rates, capacity, fitness), seconds = done
    number, layers = population.generation, job.net.weighted
    sizes = job.net.layer_sizes
    sparsity = [sum(cell) / job.net.model_size for cell in zeros]
    yield events.Generation(
        at=time.time(),
        generation=number,
        metric=job.plan.metric,
        train_loss=tuple(train_loss),
        validation_loss=tuple(validation_loss),
        sparsity=tuple(sparsity),
        learning_rate=tuple(rates),
        parents=tuple(parents),
        order=tuple(report.order),
        capacity=tuple(capacity),
        target=scheduled(job.plan, number),
        actual=sum(sparsity) / len(sparsity),
        seconds=seconds,
    )
    yield events.LayerSparsity(
        at=time.time(),
        generation=number,
        layers=tuple(layer.name for layer in layers),
        sparsity=tuple(tuple(count / size for count, size in zip(cell, sizes, strict=True)) for cell in zeros),
    )
    pruned = [cell for cell, was_pruned in enumerate(report.pruned) if was_pruned]
    if pruned:
        counts = tuple(sum(zeros[cell]) for cell in pruned)
        yield events.Pruned(at=time.time(), generation=number, cells=tuple(pruned), zeros=counts)
    yield from preview(job, population, best_cell(job, fitness), rows)


def preview(job: Job, population: Population, cell: int, rows: Rows) -> Iterator[events.Event]:
    """Yield some validation rows with a cell's reconstructions, where a preview is due."""
    net, number, last = job.net, population.generation, job.plan.training.generations
    if net.inputs > PREVIEW_INPUTS or (number != last and number % max(1, last // PREVIEWS)):
        return
    with beside(population.weights.device):
        shown = rows.validation[:PREVIEW_ROWS]
        weights = net.layout.views(population.weights[cell : cell + 1])
        output = as_rows(forward(net.layers, weights, shown[None]).out[-1])[0]
        given, reconstructions, errors = on_host(shown, output, LOSSES[job.plan.metric].value(output, shown).mean(1))
    yield events.Preview(
        at=time.time(),
        generation=number,
        cell=cell,
        rows=_rounded(given),
        reconstructions=_rounded(reconstructions),
        errors=tuple(errors),
    )


def _rounded(values: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    """Return rows at the three decimals that a picture needs."""
    return tuple(tuple(round(value, 3) for value in row) for row in values)


def front(archive: Archive) -> events.Front:
    """Return the event of a filled front."""
    return events.Front(
        at=time.time(),
        cells=tuple(archive.cells),
        losses=tuple(archive.losses),
        nonzeros=tuple(archive.nonzeros),
    )


def verified(verification: Verification) -> events.Verified:
    """Return the event of a verification, whether it passed or not."""
    return events.Verified(
        at=time.time(),
        passed=verification.passed,
        max_difference=verification.max_difference,
        tolerance=verification.tolerance,
        checks=len(verification.checks),
    )


def saved(job: Job, package: Package) -> Iterator[events.Event]:
    """Yield an event for each file of an exported model."""
    for kind, path in package.files.items():
        where = str(path.relative_to(job.folder))
        yield events.Saved(at=time.time(), file=kind, path=where, bytes=path.stat().st_size)


def finished(model: Model, seconds: float) -> events.Finished:
    """Return the last event of a run."""
    return events.Finished(
        at=time.time(),
        metrics=model.about["metrics"],
        sparsity=model.sparsity,
        zeros=model.zeros,
        parameters=model.parameters,
        seconds=seconds,
    )
