"""The choice of the model that a run exports."""

from __future__ import annotations

import math

from aecompress.errors import RunError
from aecompress.evolve.archive import Archive
from aecompress.population.state import Population
from aecompress.runs.job import Job


def best_cell(job: Job, fitness: list[float]) -> int:
    """Return the cell with the lowest validation loss of those whose budget is the target sparsity or more.

    Raises:
        RunError: no individual has a finite loss.
    """
    candidates = [cell for cell, budget in enumerate(job.goal.budgets) if budget >= job.goal.target]
    best = min(candidates, key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        best = min(range(len(fitness)), key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        raise RunError("every cell's loss is infinite or not a number; lower train.learning_rate (--lr) and run again")
    return best


def choose(job: Job, population: Population, front: Archive) -> int:
    """Return which member of the front is exported: the lowest validation loss with the target sparsity.

    Under a largest loss increase only members that keep to it count; without a least sparsity it is the sparsest of
    them.

    Raises:
        RunError: there is none.
    """
    best_cell(job, population.fitness.tolist())  # raises where no cell has a finite loss
    goal, size = job.goal, job.net.model_size
    target, limit = goal.required_sparsity, math.inf
    if goal.max_loss_increase:
        limit = (1 + goal.max_loss_increase) * reference_loss(job, population)
    most = min(size - round(target * size), size - 1) if limit < math.inf else size - round(target * size)
    sparse = [at for at, nonzeros in enumerate(front.nonzeros) if nonzeros <= most]
    candidates = [at for at in sparse if front.losses[at] <= limit]
    if sparse and not candidates:  # a limit alone leaves them out
        rise = min(front.losses[at] for at in sparse) / reference_loss(job, population) - 1
        which = f" with at least {target:.1%} sparsity" if target else ""
        raise RunError(
            f"budget.max_loss_increase = {goal.max_loss_increase}: the best model{which} has a loss {rise:.1%} "
            "above the dense model's; allow more, request less sparsity, or train longer"
        )
    if not candidates:
        cure = "lower train.learning_rate (--lr) and run again"
        raise RunError(f"no model with {target:.1%} sparsity has a finite loss; {cure}")
    if limit < math.inf and not target:
        return candidates[0]
    return min(candidates, key=lambda at: front.losses[at])


def reference_loss(job: Job, population: Population) -> float:
    """Return the validation loss of the dense cell."""
    return float(population.fitness[job.goal.dense_cell])
