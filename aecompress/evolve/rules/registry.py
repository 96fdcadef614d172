"""The evolution rules by name, each with the facts that others ask for. A new one is one file and one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aecompress.evolve.base import Plan, Rows, Visited
from aecompress.evolve.rules.alone import alone
from aecompress.evolve.rules.dominance import dominance
from aecompress.evolve.rules.opponents import opponents
from aecompress.evolve.rules.pair import pair, pair_prune_first
from aecompress.evolve.rules.panmictic import panmictic
from aecompress.polling import Poll
from aecompress.population.state import Population

Rule = Callable[[Plan, Population, Rows, Poll], Visited]
"""Makes the new individuals from the last generation, which stays as it is: selects, trains, prunes."""


@dataclass(frozen=True)
class RuleRow:
    """A rule and the facts about it."""

    visit: Rule
    spatial: bool = True
    """Whether cells have neighbours, whose number is n of the schedules, and select among them."""
    changes_partners: bool = False
    """Whether encoders and decoders change partners from step to step."""
    copies_neighbourhood: bool = False
    """Whether every cell trains with copies of its neighbourhood, which take memory."""
    own_budgets: bool = False
    """Whether each cell may have a budget of its own; then the front between the budgets is filled at the end."""
    one_rate: bool = False
    """Whether all cells have the learning rate of the first one."""


RULES: dict[str, RuleRow] = {
    "alone": RuleRow(alone, spatial=False),
    "pair": RuleRow(pair),
    "pair-prune-first": RuleRow(pair_prune_first),
    "dominance": RuleRow(dominance, own_budgets=True),
    "opponents": RuleRow(opponents, changes_partners=True, copies_neighbourhood=True),
    "panmictic": RuleRow(panmictic, spatial=False, changes_partners=True, one_rate=True),
}
