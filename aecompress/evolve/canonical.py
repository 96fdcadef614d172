"""Canonical training: autoencoders that learn and are pruned alone, without selection (ALGORITHMS A3)."""

from __future__ import annotations

from aecompress.engines.base import Poll
from aecompress.engines.training import walk_rates
from aecompress.evolve.base import Plan, Report, Rows
from aecompress.evolve.report import report
from aecompress.evolve.visit import visit_all
from aecompress.population.state import Population


def canonical(plan: Plan, last: Population, rows: Rows, poll: Poll) -> tuple[Population, Report]:
    """One generation: a pass of training with its prunes, the measurement, the walk of the learning rates.

    ``last`` stays as it is; the returned population is new.
    """
    new = last.take(last.cells)
    pruned = visit_all(plan, new, list(range(new.weights.shape[0])), rows, poll)
    new.generation += 1
    figures = report(plan, new, rows, last.cells, pruned, poll)
    walk_rates(plan.training, new)
    return new, figures
