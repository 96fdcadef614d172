"""The trip: load, evolve, choose, save, export, verify, rename into place. A run is a generator of events."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aecompress import events
from aecompress.deploy import checkpoint
from aecompress.engines.timed import Clock, timed
from aecompress.engines.workers import no_denormals
from aecompress.errors import AecompressError, Interrupted, RunError
from aecompress.evolve.archive import archive
from aecompress.evolve.generation import generation
from aecompress.evolve.rules.registry import RULES
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.population.state import Population, load_tensors
from aecompress.runs import folder, front
from aecompress.runs.choose import choose
from aecompress.runs.job import Job
from aecompress.runs.metrics import against_dense, cell_metrics, detection, final_metrics
from aecompress.runs.model import front_models, model_of
from aecompress.runs.narrate import generation_events, has_started, started
from aecompress.runs.package import hand_over, over_budget, unverified
from aecompress.spec.toml import to_toml

Stop = Callable[[], int | None]
"""Tells the number of the signal that asks the run to stop, or None."""


@dataclass
class Progress:
    """How far a run has come: what a stop saves and says."""

    population: Population | None = None
    saved: int = -1
    """Generation of the last checkpoint."""
    pending: list[events.Event] = field(default_factory=list)
    """Said between two yields, for example by a pause."""


def run(job: Job, stop: Stop = lambda: None) -> Generator[events.Event, None, None]:
    """Carry the run out, yielding each event after it is in the log. Closing the generator stops the run.

    Raises:
        RunError, VerifyError, Interrupted: after the matching event.
    """
    where = job.folder
    if not job.resumed:
        folder.begin(where, to_toml(job.resolved))
        if job.dataset.stdin is not None:
            checkpoint.write_array(where / "data.npy", job.dataset.stdin)
    about = {
        "seed": job.spec.seed,
        "spec_hash": job.spec.hash,
        "sources": job.resolved.sources,
        "dataset": {"name": job.dataset.name, "fingerprint": job.dataset.fingerprint},
        "device": str(job.device),
        "directory": str(job.directory),
    }
    folder.write_status(where, "running", about)
    (where / "control").unlink(missing_ok=True)
    with folder.open_log(where) as log:

        def said(event: events.Event) -> events.Event:
            log.write(events.to_json(event) + "\n")
            return event

        progress, done = Progress(), False
        threads = torch.get_num_threads()
        torch.set_num_threads(job.plan.blocks.threads or threads)
        control = folder.Control(where, stop, lambda event: progress.pending.append(said(event)))
        try:
            for event in trip(job, control, progress):
                yield from progress.pending
                progress.pending.clear()
                said(event)
                done = isinstance(event, events.Finished)
                if done:
                    folder.write_status(where, "finished", about)
                yield event
        except (Interrupted, KeyboardInterrupt, GeneratorExit) as fault:
            if not done:
                keep(job, progress)
                folder.write_status(where, "stopped", about)
                closed = isinstance(fault, GeneratorExit)
                reason = "the reader closed the run" if closed else str(fault) or "interrupted"
                stopped = said(events.Stopped(time.time(), control.generation, reason))
                if isinstance(fault, Interrupted):
                    yield stopped
            raise
        except BaseException as fault:
            folder.write_status(where, "failed", about)
            known = fault
            if out_of_memory(fault):
                known = RunError(f"memory ran out ({fault}); ask for smaller layers, fewer cells or fewer rows")
            yield said(events.Failed(time.time(), str(known) if isinstance(known, AecompressError) else repr(known)))
            raise known from (None if known is fault else fault)
        finally:
            torch.set_num_threads(threads)


def out_of_memory(fault: BaseException) -> bool:
    """Whether an allocation failed; torch says so on the CPU with a bare RuntimeError."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(fault)


def keep(job: Job, progress: Progress) -> Path | None:
    """Write the last completed generation to disk, unless it is there; the path written."""
    population = progress.population
    if population is None or progress.saved == population.generation:
        return None
    tensors = {name: tensor.cpu().numpy() for name, tensor in population.tensors().items()}
    path = checkpoint.save_state(job.folder / "checkpoint", population.generation, tensors, job.identity)
    progress.saved = population.generation
    return path


def trip(job: Job, control: folder.Control, progress: Progress) -> Iterator[events.Event]:
    """The run from data to verified files, as events."""
    began = time.perf_counter()
    clock = Clock()
    spent, plan = clock.seconds, dataclasses.replace(job.plan, engine=timed(job.plan.engine, clock))
    rows = rows_of(job.spec, job.dataset, job.device)
    population = first_population(job.spec, job.net, job.dataset, job.device, job.init)
    if job.resumed:
        last, arrays, notes = checkpoint.load_state(job.folder / "checkpoint", job.identity)
        if arrays:
            load_tensors(population, {name: torch.from_numpy(a) for name, a in arrays.items()}, last)
        progress.saved = control.generation = last
        yield events.Resumed(time.time(), last, "; ".join(notes))
    if not job.resumed or not has_started(job.folder):
        yield started(job)
    progress.population = population

    plan.engine.prepare(control.poll)
    spent["setting up"] = time.perf_counter() - began
    while population.generation < plan.training.generations:
        start = time.perf_counter()
        with no_denormals():
            population, figures = generation(plan, population, rows, control.poll)
        progress.population, control.generation = population, population.generation
        seconds = time.perf_counter() - start
        spent["evolving"] += seconds
        start = time.perf_counter()
        yield from generation_events(job, population, figures, rows, seconds)
        spent["events"] += time.perf_counter() - start
        if population.generation % job.spec.checkpoint_every == 0 or population.generation == plan.training.generations:
            start = time.perf_counter()
            path = keep(job, progress)
            assert path is not None
            spent["checkpoints"] += time.perf_counter() - start
            yield events.Checkpoint(time.time(), population.generation, str(path.relative_to(job.folder)))

    start = time.perf_counter()
    with no_denormals():
        found = archive(job.plan, population, rows, control.poll)
    spent["filling the front"] = time.perf_counter() - start
    start = time.perf_counter()
    yield events.Front(time.time(), tuple(found.cells), tuple(found.losses), tuple(found.nonzeros))
    if RULES[plan.rule].own_budgets:
        front.save(job.folder, front_models(job, found, control.poll))
    chosen = choose(job, population, found)
    row = found.members.weights[chosen]
    metrics = final_metrics(job.net, job.dataset, job.spec, row, control.poll)
    metrics |= cell_metrics(job, population, rows, found.members.pick(torch.tensor([chosen])), control.poll)
    metrics |= against_dense(job, population, metrics, control.poll)
    model = model_of(job, row, {"metrics": metrics})
    metrics |= detection(model, job.dataset, plan.metric)
    handed = hand_over(job.folder, model, job.dataset, job.spec, control.poll)
    verification = handed.verification
    yield events.Verified(
        time.time(),
        verification.passed,
        verification.max_difference,
        verification.tolerance,
        len(verification.checks),
    )
    if not verification.passed:
        raise unverified(handed)
    for kind, path in handed.files.items():
        yield events.Saved(time.time(), kind, str(path.relative_to(job.folder)), path.stat().st_size)
    assert handed.compared is not None
    yield handed.compared
    over = over_budget(job.spec, model, handed)
    if over:
        raise RunError(f"{over}; the model is in {job.folder / 'model'} all the same")
    spent["saving, exporting, verifying"] = time.perf_counter() - start
    spent["selecting and pruning"] = spent.pop("evolving", 0.0) - spent["training"] - spent["measuring"]
    yield events.Profiled(time.time(), dict(spent))
    seconds = time.perf_counter() - began
    yield events.Finished(time.time(), metrics, model.sparsity, model.zeros, model.parameters, seconds)
