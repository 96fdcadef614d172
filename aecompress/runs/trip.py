"""The trip of a run, on one page: set up, evolve, fill the front, choose, evaluate, export, verify."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator

from aecompress import events
from aecompress.deploy.checkpoint import Model
from aecompress.engines.timed import Clock, timed
from aecompress.engines.workers import no_denormals
from aecompress.errors import RunError, VerifyError
from aecompress.evolve.archive import archive
from aecompress.evolve.base import Report, Rows
from aecompress.evolve.generation import generation
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.runs import narrate
from aecompress.runs.choose import choose
from aecompress.runs.control import Control
from aecompress.runs.job import Job
from aecompress.runs.metrics import evaluated
from aecompress.runs.model import save_front
from aecompress.runs.package import export_model, missed_budget
from aecompress.runs.progress import Progress, last_population


def trip(job: Job, control: Control, progress: Progress) -> Iterator[events.Event]:
    """Carry a run out, from its rows to verified files, and yield its events.

    Raises:
        RunError: every model is lost, or the result misses a budget.
        VerifyError: the exported model is not the trained one.
        Interrupted: the run was stopped.
    """
    clock, began = Clock(), time.perf_counter()
    with clock("setting up"):
        rows = rows_of(job.sampling, job.dataset, job.device)
        start = yield from start_or_resume(job, control, progress)
        job.plan.engine.prepare(control.poll)
    population = start
    for population, report, seconds in generations(job, start, rows, control, clock):
        progress.population, control.generation = population, population.generation
        with clock("events"):
            yield from narrate.generation(job, population, report, rows, seconds)
        with clock("checkpoints"):
            yield from checkpoints(job, progress, population.generation)
    with clock("filling the front"), no_denormals():
        front = archive(job.plan, population, rows, control.poll)
    with clock("saving, exporting, verifying"):
        yield narrate.front(front)
        save_front(job, front, control.poll)
        model = evaluated(job, population, rows, front.members, choose(job, population, front), control.poll)
        model = yield from export(job, model, control.poll)
    yield events.Profiled(at=time.time(), seconds=phases(clock))
    yield narrate.finished(model, time.perf_counter() - began)


def start_or_resume(job: Job, control: Control, progress: Progress) -> Generator[events.Event, None, Population]:
    """Return the population to continue from: before generation 0, or that of the run's last whole checkpoint."""
    if job.resumed:
        population, notes = last_population(job)
        progress.saved = control.generation = population.generation
        yield events.Resumed(
            at=time.time(), generation=population.generation, note="; ".join([*notes, *filter(None, [job.moved])])
        )
    else:
        population = first_population(job.first, job.net, job.dataset, job.device)
    if not job.resumed or not narrate.has_started(job.folder):
        yield narrate.started(job)
    progress.population = population
    return population


def generations(
    job: Job, population: Population, rows: Rows, control: Control, clock: Clock
) -> Iterator[tuple[Population, Report, float]]:
    """Yield each new population with its report and the seconds it took."""
    plan = dataclasses.replace(job.plan, engine=timed(job.plan.engine, clock))
    while population.generation < plan.training.generations:
        before = clock.seconds["evolving"]
        with clock("evolving"), no_denormals():
            population, report = generation(plan, population, rows, control.poll)
        yield population, report, clock.seconds["evolving"] - before


def checkpoints(job: Job, progress: Progress, number: int) -> Iterator[events.Event]:
    """Save the state where it is due: every few generations, and after the last."""
    if number % job.checkpoint_every == 0 or number == job.plan.training.generations:
        path = progress.save(job)
        assert path is not None
        yield events.Checkpoint(at=time.time(), generation=number, path=str(path.relative_to(job.folder)))


def export(job: Job, model: Model, poll: Poll) -> Generator[events.Event, None, Model]:
    """Write and verify the model folder, and return the model with the metrics of its variants' scorers.

    Raises:
        VerifyError: a file is not the model; no folder is left.
        RunError: the model misses a budget; the folder is in place.
    """
    try:
        package = export_model(job.folder, model, job.dataset, job.export, poll)
    except VerifyError as fault:
        yield narrate.verified(fault.verification)
        raise
    yield narrate.verified(package.verification)
    yield from narrate.saved(job, package)
    yield package.compared
    if missed := missed_budget(job.goal, model, package):
        raise RunError(f"{missed}; the model is in {job.folder / 'model'} nevertheless")
    return package.model


def phases(clock: Clock) -> dict[str, float]:
    """Return the seconds of each phase, those of evolving divided into training, evaluating and the rest."""
    seconds = dict(clock.seconds)
    evolving = seconds.pop("evolving", 0.0)
    rest = evolving - seconds.get("training", 0.0) - seconds.get("evaluating", 0.0)
    return seconds | {"selecting and pruning": rest}
