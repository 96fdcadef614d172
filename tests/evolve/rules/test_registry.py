from __future__ import annotations

import pytest

from aecompress.evolve.rules.registry import RULES
from aecompress.spec.fields import RULE_TRAITS


def test_a_spec_knows_every_rule() -> None:
    assert set(RULE_TRAITS) == {"auto", *RULES}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("trait", ["spatial", "changes_partners", "own_budgets"])
def test_a_spec_knows_of_a_rule_what_the_registry_says(name: str, trait: str) -> None:
    assert getattr(RULE_TRAITS[name], trait) == getattr(RULES[name], trait)
