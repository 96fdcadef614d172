"""The trip of a run, on one page: set up, evolve, fill the front, choose, evaluate, export, verify."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from aecompress import events
from aecompress.deploy.checkpoint import Model
from aecompress.engines.timed import Clock, timed
from aecompress.engines.workers import no_denormals
from aecompress.errors import Interrupted, RunError, VerifyError
from aecompress.evolve.archive import Archive, archive
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
from aecompress.transfer import on_host


def trip(job: Job, control: Control, progress: Progress) -> Iterator[events.Event]:
    """Carry a run out, from its rows to verified files, and yield its events.

    Raises:
        RunError: every model is lost, or the result misses a budget.
        VerifyError: the exported model is not the trained one.
        Interrupted: the run was stopped.
    """
    clock, began = Clock(), time.perf_counter()
    population, rows, front = yield from trained(job, control, progress, clock)
    with clock("saving, exporting, verifying"):
        save_front(job, front, control.poll)
        model = evaluated(job, population, rows, front.members, choose(job, population, front), control.poll)
        model = yield from export(job, model, control.poll)
    yield events.Profiled(at=time.time(), seconds=phases(clock))
    yield narrate.finished(model, time.perf_counter() - began)


class Trained(NamedTuple):
    """What a run has found when its last generation is done, and the front is filled."""

    population: Population
    rows: Rows
    front: Archive


def trained(job: Job, control: Control, progress: Progress, clock: Clock) -> Generator[events.Event, None, Trained]:
    """Set up, evolve and fill the front, yielding the events.

    Raises:
        RunError: every model is lost.
        Interrupted: the run was stopped.
    """
    with clock("setting up"):
        rows = rows_of(job.sampling, job.dataset, job.device)
        start = yield from start_or_resume(job, control, progress)
        job.plan.engine.prepare(control.poll)
    population = start
    for done in generations(job, start, rows, control, clock):
        population = progress.population = done.population
        control.generation = population.generation
        with clock("events"):
            yield from narrate.generation(job, done, rows)
        with clock("checkpoints"):
            yield from checkpoints(job, progress, population.generation)
    with clock("filling the front"), no_denormals():
        front = archive(job.plan, population, rows, control.poll)
    yield narrate.front(front)
    return Trained(population, rows, front)


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
    on_host(population.fitness)  # then all of it is there: states are read beside what a GPU is doing
    if not job.resumed or not narrate.has_started(job.folder):
        yield narrate.started(job)
    progress.population = population
    return population


WAITING = "waiting for the device"
"""The phase in which the host has nothing else to do."""


class Begun(NamedTuple):
    """A generation that the device has been given."""

    population: Population
    report: Report
    read: Callable[[], narrate.Figures]


def generations(job: Job, population: Population, rows: Rows, control: Control, clock: Clock) -> Iterator[narrate.Done]:
    """Yield each new population with its figures and the seconds it took.

    A GPU is given the next generation before the figures of the last are waited for, so that it always has work. What
    a stop finds begun is given up; what is complete is yielded first.
    """
    counted, on_gpu, begun = 0.0, job.device.type == "cuda", deque[Begun]()
    stopped: Interrupted | None = None

    def first_begun() -> narrate.Done:
        nonlocal counted
        population, report, read = begun.popleft()
        with clock(WAITING if on_gpu else "evolving"):
            figures = read()
        before, counted = counted, clock.seconds["evolving"] + clock.seconds.get(WAITING, 0.0)
        return narrate.Done(population, report, figures, counted - before)

    while population.generation < job.plan.training.generations and not stopped:
        plan = job.plan.at(population.generation)
        plan = dataclasses.replace(plan, engine=timed(plan.engine, clock))
        with clock("evolving"), no_denormals():
            try:
                population, report = generation(plan, population, rows, control.poll)
                begun.append(Begun(population, report, narrate.figures(population, report)))
            except Interrupted as fault:
                stopped = fault
        if len(begun) > on_gpu:
            yield first_begun()
    while begun:
        yield first_begun()
    if stopped:
        control.poll()  # which names the last generation now
        raise stopped


def checkpoints(job: Job, progress: Progress, number: int) -> Iterator[events.Event]:
    """Save the state where it is due: every few generations, and after the last."""
    if not job.checkpoint_every:
        return
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
