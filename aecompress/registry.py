"""What a spec can name and anyone can add to: evolution rules. A new one is its file and one row here.

A row has the facts that the rest of the package needs, and names its code as an entry point does, ``module:name``.
:func:`pkgutil.resolve_name` imports it when a run needs it, so that neither ``--help`` nor the check of a spec imports
torch. There is no other place that lists the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An evolution rule: how a generation's individuals come from the last one's."""

    visit: str
    """Its function, a :data:`aecompress.evolve.base.Visit`."""
    about: str
    """What a cell does, as a clause of the help."""
    mode: str = "coevo"
    """The mode of a spec that it is for; in coevo, ``evolve.rule`` names it."""
    spatial: bool = True
    """Whether cells have neighbours, whose number is n of the schedules, and select among them."""
    changes_partners: bool = False
    """Whether encoders and decoders change partners from step to step of a generation."""
    prunes_first: bool = False
    """Whether a cell is pruned before it trains."""
    pruned_once: bool = False
    """Whether a cell is pruned once in a generation, after all its training."""
    copies_neighbourhood: bool = False
    """Whether every cell trains with copies of its neighbourhood, which take memory."""
    own_budgets: bool = False
    """Whether each cell may have a budget of its own; then the front between the budgets is filled at the end."""
    one_rate: bool = False
    """Whether all cells have the learning rate of the first one."""


RULES: dict[str, Rule] = {
    "alone": Rule(
        visit="aecompress.evolve.rules.alone:alone",
        about="one autoencoder trains and is pruned, without selection",
        mode="canonical",
        spatial=False,
    ),
    "dominance": Rule(
        visit="aecompress.evolve.rules.dominance:dominance",
        about="a cell takes its neighbourhood's best encoder and decoder, cut to its own budget, where they beat its "
        "own",
        own_budgets=True,
    ),
    "pair": Rule(
        visit="aecompress.evolve.rules.pair:pair",
        about="a tournament, then training, then pruning, as published",
    ),
    "pair-prune-first": Rule(
        visit="aecompress.evolve.rules.pair:pair_prune_first",
        about="pruning before training",
        prunes_first=True,
    ),
    "opponents": Rule(
        visit="aecompress.evolve.rules.opponents:opponents",
        about="each of the pair trains with opponents drawn anew for every batch",
        changes_partners=True,
        copies_neighbourhood=True,
    ),
    "panmictic": Rule(
        visit="aecompress.evolve.rules.panmictic:panmictic",
        about="every encoder trains with every decoder",
        spatial=False,
        changes_partners=True,
        pruned_once=True,
        one_rate=True,
    ),
}


def rules_of(mode: str) -> list[str]:
    """Return the names of the rules that are for a mode; canonical has one."""
    return [name for name, rule in RULES.items() if rule.mode == mode]


def listed(names: Iterable[str], last: str = "or") -> str:
    """Return names as a sentence lists them: ``a, b or c``."""
    *before, end = names
    return f"{', '.join(before)} {last} {end}" if before else end
