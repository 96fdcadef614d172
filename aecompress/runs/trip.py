"""The trip: load, evolve, choose, save, export, verify, rename into place. A run is a generator of events."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aecompress import events
from aecompress.deploy import checkpoint
from aecompress.engines.base import Engine
from aecompress.engines.workers import no_denormals
from aecompress.errors import AecompressError, Interrupted, RunError
from aecompress.evolve.archive import archive
from aecompress.evolve.canonical import canonical
from aecompress.evolve.coevolution import coevolution
from aecompress.plan.counts import cells_of
from aecompress.plan.engine import make_ready, threads_for
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

MODES = {"canonical": canonical, "coevo": coevolution}


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
        torch.set_num_threads(threads_for(job.plan, cells_of(job.spec), job.device))
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
    spent: defaultdict[str, float] = defaultdict(float)
    plan = dataclasses.replace(job.plan, engine=timed(job.plan.engine, spent))
    rows = rows_of(job.spec, job.dataset, job.device)
    population = first_population(job.spec, job.net, job.dataset, job.device, job.init)
    if job.resumed:
        generation, arrays, notes = checkpoint.load_state(job.folder / "checkpoint", job.identity)
        if arrays:
            load_tensors(population, {name: torch.from_numpy(a) for name, a in arrays.items()}, generation)
        progress.saved = control.generation = generation
        yield events.Resumed(time.time(), generation, "; ".join(notes))
    if not job.resumed or not has_started(job.folder):
        yield started(job)
    progress.population = population

    make_ready(plan, control.poll)
    evolve = MODES[job.spec.mode]
    spent["setting up"] = time.perf_counter() - began
    while population.generation < plan.training.generations:
        start = time.perf_counter()
        with no_denormals():
            population, figures = evolve(plan, population, rows, control.poll)
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
    if plan.ring is not None and plan.ring.dominance:
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


def timed(engine: Engine, spent: defaultdict[str, float]) -> Engine:
    """The engine with the time of its training and measuring added to ``spent``; on a GPU that of starting them.

    Time in which several cores train counts once.
    """

    lock, inside, since = threading.Lock(), Counter[str](), dict[str, float]()

    def clocked(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with lock:
                if not inside[what]:
                    since[what] = time.perf_counter()
                inside[what] += 1
            try:
                return function(*arguments)
            finally:
                with lock:
                    inside[what] -= 1
                    if not inside[what]:
                        spent[what] += time.perf_counter() - since[what]

        return call

    train, evaluate = clocked("training", engine.train), clocked("measuring", engine.evaluate)
    together = clocked("training", engine.together)
    return dataclasses.replace(engine, train=train, evaluate=evaluate, together=together)
