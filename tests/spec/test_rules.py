from __future__ import annotations

from typing import Any

import pytest

from aecompress.errors import SpecError
from aecompress.registry import rules_of
from aecompress.spec.fields import FIELDS, RunSpec
from aecompress.spec.resolve import resolve
from aecompress.spec.rules import CONTRADICTIONS, IGNORED, Contradiction, Ignored, contradictions, sentence_of
from aecompress.spec.toml import nest


def test_the_defaults_contradict_nothing() -> None:
    assert contradictions(RunSpec()) == []


@pytest.mark.parametrize("row", CONTRADICTIONS, ids=lambda row: row.sentence[:60])
def test_a_contradiction_is_the_one_fault_of_its_example(row: Contradiction) -> None:
    flags = {path: ("--set", value) for path, value in row.example.items()}
    with pytest.raises(SpecError) as caught:
        resolve(flags)
    spec = RunSpec.model_validate(nest(row.example))
    assert caught.value.faults == [sentence_of(row.sentence, spec)]
    assert caught.value.faults[0].startswith(row.field)
    assert row.field in FIELDS or row.field in RunSpec.model_fields
    assert "{" not in caught.value.faults[0]


def test_no_two_contradictions_have_one_example() -> None:
    assert len(CONTRADICTIONS) > 30
    examples = [sorted(row.example.items(), key=str) for row in CONTRADICTIONS]
    assert all(examples.count(example) == 1 for example in examples)


@pytest.mark.parametrize("row", IGNORED, ids=lambda row: row.sentence[:60])
def test_flags_that_a_run_ignores_are_faults_and_values_of_a_file_are_not(row: Ignored) -> None:
    assert set(row.fields) <= set(FIELDS)
    example = {path: ("file.toml", value) for path, value in row.example.items()}
    for field in row.fields:
        value: Any = row.example.get(field, FIELDS[field])
        with pytest.raises(SpecError) as caught:
            resolve({**example, field: ("--flag", value)})
        assert len(caught.value.faults) == 1
        assert caught.value.faults[0].startswith(f"{field} (--flag): ")
        resolve({**example, field: ("file.toml", value)})


def test_sentences_show_lists_as_a_spec_file_has_them() -> None:
    row = next(row for row in CONTRADICTIONS if row.field == "data.split")
    spec = RunSpec.model_validate({"data": {"split": (0.5, 0.1, 0.1)}})
    assert contradictions(spec) == ["data.split = [0.5, 0.1, 0.1]: the three shares must add up to 1"]
    assert row.broken(spec)


@pytest.mark.parametrize("rule", rules_of("coevo"))
def test_every_rule_can_be_resolved_and_is_ignored_in_canonical_mode(rule: str) -> None:
    assert resolve({"evolve.rule": ("--rule", rule)}).spec.evolve.rule == rule
    with pytest.raises(SpecError, match="one autoencoder has no ring"):
        resolve({"evolve.rule": ("--rule", rule), "mode": ("--mode", "canonical")})
