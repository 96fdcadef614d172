"""A run with its records: every event of the trip in the log, the status in ``run.json``, and what a stop saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from aecompress import events
from aecompress.data.table import cells_of, columns_of
from aecompress.deploy import checkpoint
from aecompress.errors import AecompressError, Interrupted, RunError
from aecompress.plan.device import card_of
from aecompress.runs import folder, modules
from aecompress.runs.control import Control, Stop
from aecompress.runs.job import Job
from aecompress.runs.progress import Progress
from aecompress.runs.trip import trip
from aecompress.spec.toml import to_toml

Log = Callable[[events.Event], events.Event]
"""Writes an event to the log and returns it."""


def run(job: Job, stop: Stop = lambda: None) -> Generator[events.Event, None, None]:
    """Carry a run out, yielding each event after it was logged. Closing the generator stops the run.

    Raises:
        RunError, VerifyError, Interrupted: after the event of the same meaning.
    """
    if not job.resumed:
        folder.begin(job.folder, to_toml(job.resolved))
        if job.dataset.stdin is not None:
            checkpoint.write_array(job.folder / "data.npy", cells_of(job.dataset.stdin))
        if job.code and job.brought is not None:
            modules.save(job.folder, job.brought, job.dataset)
    about = _about(job)
    with folder.open_log(job.folder) as file, torch_threads(job.plan.blocks.threads):
        # Nothing of a run that another process writes is touched: what follows needs the log's lock.
        folder.write_status(job.folder, "running", about)
        (job.folder / folder.BEGUN).unlink(missing_ok=True)
        (job.folder / "control").unlink(missing_ok=True)

        def log(event: events.Event) -> events.Event:
            file.write(events.to_json(event) + "\n")
            return event

        yield from _recorded(job, stop, about, log)


def _recorded(job: Job, stop: Stop, about: dict[str, Any], log: Log) -> Iterator[events.Event]:
    """Yield the logged events of the trip, and at the end of it, whatever ends it, write the status."""
    progress, finished = Progress(), False
    control = Control(job.folder, stop, lambda event: progress.pending.append(log(event)))
    try:
        for event in trip(job, control, progress):
            yield from progress.pending
            progress.pending.clear()
            log(event)
            if isinstance(event, events.Finished):
                finished = True
                folder.write_status(job.folder, "finished", about)
            yield event
    except (Interrupted, KeyboardInterrupt, GeneratorExit) as fault:
        if not finished:
            progress.save(job)
            folder.write_status(job.folder, "stopped", about)
            stopped = log(events.Stopped(at=time.time(), generation=control.generation, reason=_reason(fault)))
            if isinstance(fault, Interrupted):
                yield stopped
        raise
    except BaseException as fault:
        folder.write_status(job.folder, "failed", about)
        known = out_of_memory(fault) or fault
        message = str(known) if isinstance(known, AecompressError) else repr(known)
        yield log(events.Failed(at=time.time(), message=message))
        raise known from (None if known is fault else fault)


def _about(job: Job) -> dict[str, Any]:
    """Return what ``run.json`` holds besides the status; of standard input also its columns."""
    dataset: dict[str, Any] = {"name": job.dataset.name, "fingerprint": job.dataset.fingerprint}
    if job.dataset.stdin is not None:
        dataset |= {"inputs": list(job.dataset.inputs), "columns": columns_of(job.dataset.stdin)}
    return {
        "seed": job.export.seed,
        "spec_hash": job.export.spec_hash,
        "sources": job.resolved.sources,
        "dataset": dataset,
        "device": str(job.device),
        "card": card_of(job.device),
        "directory": str(job.directory),
        **({"code": dict(job.code)} if job.code else {}),
    }


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Give torch's operations ``count`` threads inside; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reason(fault: BaseException) -> str:
    return "the reader closed the run" if isinstance(fault, GeneratorExit) else str(fault) or "interrupted"


def out_of_memory(fault: BaseException) -> RunError | None:
    """Return the error for the user where an allocation failed; on the CPU torch raises a bare RuntimeError then."""
    if isinstance(fault, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(fault):
        detail = f" ({fault})" if str(fault) else ""
        return RunError(f"memory ran out{detail}; choose smaller layers, fewer cells, fewer rows or --in-memory no")
    return None
