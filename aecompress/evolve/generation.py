"""One generation of an evolution, whatever its rule."""

from __future__ import annotations

import pkgutil

from aecompress.engines.training import walk_rates
from aecompress.evolve.base import Plan, Report, Rows, Visit
from aecompress.evolve.best import keep_best
from aecompress.evolve.report import report
from aecompress.polling import Poll
from aecompress.population.state import Population
from aecompress.registry import RULES


def generation(plan: Plan, last: Population, rows: Rows, poll: Poll) -> tuple[Population, Report]:
    """Make one generation: the rule's visits, the evaluation, the best so far, the walk of the learning rates.

    ``last`` stays as it is; the returned population is new.
    """
    rule = RULES[plan.rule]
    visit: Visit = pkgutil.resolve_name(rule.visit)
    visited = visit(plan, last, rows, poll)
    new = visited.population
    new.generation += 1
    figures = keep_best(plan, last, new, report(plan, visited, rows, poll), rows, poll)
    walk_rates(plan.training, new)
    if rule.one_rate:
        new.learning_rate.fill_(new.learning_rate[0].clone())
    return new, figures
