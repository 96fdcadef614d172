"""A toy rule: every cell takes the fittest individual of the population, trains and prunes it."""

from __future__ import annotations

from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.visit import visit_all
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.registry import RuleRow


def leader(plan: Plan, last: Population, rows: Rows, poll: Poll) -> Visited:
    """Fill every cell with the fittest individual, then train and prune it there."""
    parents = last.fitness.argmin().repeat(len(last))
    new = last.take(parents)
    pruned = visit_all(plan, new, list(range(len(new))), rows, poll)
    return Visited(population=new, parents=parents, pruned=pruned, order=[])


ROW = RuleRow(visit="tests.evolve.rules.leader:leader", about="every cell takes the fittest pair", spatial=False)
