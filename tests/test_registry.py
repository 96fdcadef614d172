"""The registry: every row names code that is there, and lists read as sentences do."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

from aecompress.registry import RULES, Rule, listed, rules_of


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_names_a_function_of_the_contract(rule: Rule) -> None:
    visit = pkgutil.resolve_name(rule.visit)
    assert list(inspect.signature(visit).parameters) == ["plan", "last", "rows", "poll"]
    assert visit.__doc__ and rule.about and not rule.about.endswith(".")


def test_every_rule_is_of_one_mode_and_canonical_has_one() -> None:
    assert sorted(RULES) == sorted([*rules_of("canonical"), *rules_of("coevo")])
    assert len(rules_of("canonical")) == 1


def test_the_registry_imports_nothing_that_takes_time() -> None:
    script = "import sys; from aecompress import registry; print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed("a"), listed("ab"), listed("abc"), listed("abc", "and")] == [
        "a",
        "a or b",
        "a, b or c",
        "a, b and c",
    ]
