"""Which model of a run is exported."""

from __future__ import annotations

import math

from aecompress.errors import RunError
from aecompress.evolve.archive import Archive
from aecompress.plan.counts import budgets_of
from aecompress.population.state import Population
from aecompress.runs.job import Job


def best_cell(job: Job, population: Population) -> int:
    """The cell with the lowest validation loss of those that are to become as sparse as asked, or sparser.

    Raises:
        RunError: no individual has a finite loss.
    """
    target = float(job.spec.prune.target_sparsity)
    able = [cell for cell, budget in enumerate(budgets_of(job.spec)) if budget >= target]
    fitness = population.fitness.tolist()
    best = min(able, key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        best = min(range(len(fitness)), key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        raise RunError("every cell's loss is infinite or not a number; lower train.learning_rate (--lr) and run again")
    return best


def choose(job: Job, population: Population, found: Archive) -> int:
    """Which pair of the archive is handed over: the lowest validation loss with the zeros asked for.

    Under a largest loss increase only pairs that keep to it count, and without a least sparsity it is the sparsest of
    them.

    Raises:
        RunError: there is none.
    """
    best_cell(job, population)  # says so where every cell is lost
    spec, size = job.spec, job.net.model_size
    target, limit = float(spec.prune.target_sparsity) if spec.prune.drive == "target" else 0.0, math.inf
    if spec.budget.max_loss_increase:
        limit = (1 + spec.budget.max_loss_increase) * reference_loss(job, population)
        target = float(spec.budget.min_sparsity)
    most = min(size - round(target * size), size - 1) if limit < math.inf else size - round(target * size)
    good = [at for at, loss in enumerate(found.losses) if found.nonzeros[at] <= most and loss <= limit]
    if good and limit < math.inf and not target:
        return good[0]
    if good:
        return min(good, key=lambda at: found.losses[at])
    sparse = [at for at in range(len(found.losses)) if found.nonzeros[at] <= most]
    if limit < math.inf and sparse:
        rise = min(found.losses[at] for at in sparse) / reference_loss(job, population) - 1
        which = f" with {target:.1%} zeros or more" if target else ""
        raise RunError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: the best pair{which} lies {rise:.1%} above "
            "the dense model; allow more, ask for fewer zeros, or train longer"
        )
    raise RunError(f"no cell with {target:.1%} zeros has a finite loss; lower train.learning_rate (--lr) and run again")


def reference_loss(job: Job, population: Population) -> float:
    """Validation loss of the dense cell."""
    return float(population.fitness[budgets_of(job.spec).index(0.0)])
