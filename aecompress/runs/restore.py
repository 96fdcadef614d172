"""The model of a run that has none, from the run's last checkpoint."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy.checkpoint import Model
from aecompress.engines.workers import no_denormals
from aecompress.errors import DataError
from aecompress.evolve.archive import archive
from aecompress.files import standing
from aecompress.plan.rows import rows_of
from aecompress.runs.choose import choose
from aecompress.runs.job import prepare_resume
from aecompress.runs.metrics import evaluated
from aecompress.runs.model import save_front
from aecompress.runs.progress import last_population
from aecompress.runs.run import torch_threads
from aecompress.steering import status_of


def restored(run: Path) -> Model:
    """Return the model that the run in ``run`` exports, and write its front where there is none.

    Raises:
        AecompressError: the run is being carried out, its last generation has no whole checkpoint, or rows are gone.
    """
    if (status := status_of(run)) == "running":
        raise DataError(f"{run}: is {status} and has no model yet; wait for its end")
    job = prepare_resume(run)
    with torch_threads(job.plan.blocks.threads):
        population, _ = last_population(job)
        last, generations = population.generation, job.plan.training.generations
        if last < generations:
            raise DataError(
                f"{run}: has no model, and its last whole checkpoint is of generation {last} of {generations}; "
                f"`aecompress prune --resume {run}` completes it"
            )
        rows = rows_of(job.spec, job.dataset, job.device)
        job.plan.engine.prepare(lambda: None)
        with no_denormals():
            front = archive(job.plan, population, rows, lambda: None)
        if not standing(run / "front").exists():
            save_front(job, front, lambda: None)
        return evaluated(job, population, rows, front.members, choose(job, population, front), lambda: None)
