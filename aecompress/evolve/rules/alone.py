"""Autoencoders that learn and are pruned alone, without selection: canonical training (ALGORITHMS A3)."""

from __future__ import annotations

from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.visit import visit_all
from aecompress.polling import Poll
from aecompress.population.state import Population


def alone(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Train and prune every individual in its own cell."""
    new = last.copy()
    pruned = visit_all(plan, new, list(range(len(new))), rows, poll)
    return Visited(population=new, parents=last.places, pruned=pruned, order=[])
