"""The model of a run that has none, from the run's last checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from aecompress.deploy.checkpoint import Model
from aecompress.engines.workers import no_denormals
from aecompress.errors import DataError
from aecompress.evolve.archive import Archive, archive
from aecompress.files import standing
from aecompress.plan.goal import Goal
from aecompress.plan.rows import rows_of
from aecompress.polling import no_poll
from aecompress.runs.choose import choose
from aecompress.runs.job import prepare_resume
from aecompress.runs.metrics import evaluated
from aecompress.runs.model import save_front
from aecompress.runs.progress import last_population
from aecompress.runs.run import torch_threads
from aecompress.steering import status_of


def restored(run: Path) -> tuple[Model, str]:
    """Return the model of a run's last checkpoint, and a sentence that says which that is.

    Of a run whose generations are complete it is the model that the run exports, and a missing front is written. Of
    another it is the best of the sparsest cells, as far as the target goes.

    Raises:
        AecompressError: the run is being carried out, it has no whole checkpoint, or rows are gone.
    """
    if status_of(run) == "running":
        raise DataError(f"{run}: is running and has no model yet; wait for its end")
    job = prepare_resume(run)
    with torch_threads(job.plan.blocks.threads):
        population, _ = last_population(job)
        last, generations = population.generation, job.plan.training.generations
        if last == 0 and generations:
            raise DataError(
                f"{run}: has neither a model nor a whole checkpoint; `aecompress prune --resume {run}` carries it out"
            )
        rows = rows_of(job.sampling, job.dataset, job.device)
        job.plan.engine.prepare(no_poll)
        with no_denormals():
            front = archive(job.plan, population, rows, no_poll)
        if last < generations:
            job = dataclasses.replace(job, goal=reached(job.goal, front, job.net.model_size))
        elif not standing(run / "front").exists():
            save_front(job, front, no_poll)
        model = evaluated(job, population, rows, front.members, choose(job, population, front), no_poll)
    return model, f"exported from the checkpoint of epoch {last} of {generations}"


def reached(goal: Goal, front: Archive, size: int) -> Goal:
    """Return a goal that requires no more sparsity than a front has so far.

    Args:
        size: weights and biases of a model.
    """
    sparsest = 1 - min(front.nonzeros, default=size) / size
    return dataclasses.replace(goal, required_sparsity=min(goal.required_sparsity, sparsest))
