"""A run that writes nothing: its models stay in memory."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from aecompress import events
from aecompress.deploy.checkpoint import Model
from aecompress.engines.timed import Clock
from aecompress.runs import narrate
from aecompress.runs.choose import choose
from aecompress.runs.control import Control
from aecompress.runs.job import Job
from aecompress.runs.metrics import evaluated
from aecompress.runs.model import front_models
from aecompress.runs.progress import Progress
from aecompress.runs.run import out_of_memory, torch_threads
from aecompress.runs.trip import phases, trained


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run has found."""

    model: Model
    """The one that a run exports, with all its metrics."""
    front: tuple[Model, ...]
    """Non-dominated models with their losses, fewest non-zeros first."""
    chosen: int
    """The place of ``model`` among them."""


def carry_out(job: Job) -> Generator[events.Event, None, Found]:
    """Carry out the run of :func:`aecompress.runs.job.prepare_in_memory`, yielding its events; return what it found.

    The weights are those of a run that writes its folder.

    Raises:
        RunError: every model is lost, or memory ran out.
    """
    clock, began, control = Clock(), time.perf_counter(), Control(None, lambda: None, lambda event: None)
    try:
        with torch_threads(job.plan.blocks.threads):
            population, rows, front = yield from trained(job, control, Progress(), clock)
            with clock("evaluating the result"):
                chosen = choose(job, population, front)
                model = evaluated(job, population, rows, front.members, chosen, control.poll)
                models = front_models(job, front, control.poll)
    except (MemoryError, RuntimeError) as fault:
        known = out_of_memory(fault)
        if known is None:
            raise
        raise known from fault
    yield events.Profiled(at=time.time(), seconds=phases(clock))
    yield narrate.finished(model, time.perf_counter() - began)
    return Found(model=model, front=tuple(models), chosen=chosen)
