"""Canonical training: autoencoders that learn and are pruned alone, without selection."""

from __future__ import annotations

from aecompress.evolve.plan import Plan, Poll, Report, Rows, report, train_and_prune
from aecompress.evolve.population import Population


def canonical(plan: Plan, last: Population, rows: Rows, poll: Poll) -> tuple[Population, Report]:
    """One generation: a pass of training with its prunes, then the measurement.

    ``last`` stays as it is; the returned population is new.
    """
    cells = last.cells
    new = last.take(cells)
    pruned = train_and_prune(plan, new, cells, rows, poll)
    new.generation += 1
    return new, report(plan, new, rows, cells, pruned)
