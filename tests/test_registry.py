"""The registry: every row names code that is there, and lists read as sentences do."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aecompress.registry import OPERATORS, RULES, SCHEDULES, SOURCES, VARIANTS, RuleRow, listed, probabilities, rules_of
from aecompress.spec.fields import RunSpec
from tests import commands, toys


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_names_a_function_of_the_contract(rule: RuleRow) -> None:
    visit = pkgutil.resolve_name(rule.visit)
    assert list(inspect.signature(visit).parameters) == ["plan", "last", "rows", "poll"]
    assert visit.__doc__ and rule.about and not rule.about.endswith(".")


REFERENCES = {
    f"{row} {role}": reference
    for table, role in (
        (SOURCES, "read"),
        (OPERATORS, "score"),
        (OPERATORS, "published"),
        (SCHEDULES, "build"),
        (VARIANTS, "write"),
        (VARIANTS, "smaller"),
    )
    for row, facts in table.items()
    if (reference := getattr(facts, role))
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=list(REFERENCES))
def test_a_row_names_a_function_that_is_there(reference: str) -> None:
    function = pkgutil.resolve_name(reference)
    assert inspect.isfunction(function) and function.__doc__
    assert list(REFERENCES.values()).count(reference) == 1


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


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "order", toys.ORDER)
    monkeypatch.setitem(SCHEDULES, "sometimes", toys.SOMETIMES)
    monkeypatch.setitem(SCHEDULES, "straight", toys.STRAIGHT)
    monkeypatch.setitem(VARIANTS, "listing", toys.LISTING)


WORDS = ["binary-clusters:2x5x20", "--mode", "canonical", "--operator", "order", "--variants", "listing", "--quiet"]


@pytest.mark.usefixtures("rows")
def test_a_toy_operator_rise_and_variant_are_one_row_each_and_carry_out_a_run(tmp_path: Path) -> None:
    words = [*WORDS, "--schedule", "straight", "--epochs", "4", "--target-sparsity", "0.5", "--regrowth", "0"]
    done = commands.aecompress(
        "prune", *words, "--set", "prune.per_generation=1", "--set", "prune.end=1", "-o", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    sparsity = [event["sparsity"] for event in log if event["event"] == "generation"]
    whole = log[-1]["parameters"]
    assert sparsity == [[pytest.approx(round(share * whole) / whole)] for share in (0.125, 0.25, 0.375, 0.5)]
    assert "encoder.0" in (tmp_path / "run" / "model" / "layers.txt").read_text()
    files = {event["file"]: event["path"] for event in log if event["event"] == "saved"}
    assert files["layers"] == "model/layers.txt"
    again = commands.aecompress("prune", "--resume", tmp_path / "run", "--quiet", "--json")
    assert files == {file["kind"]: f"model/{Path(file['path']).name}" for file in json.loads(again.stdout)["files"]}
    assert "layers.txt names" in (tmp_path / "run" / "model" / "verification.json").read_text()


@pytest.mark.usefixtures("rows")
def test_the_facts_of_a_toy_row_are_those_that_a_spec_is_checked_by(tmp_path: Path) -> None:
    published = ["--schedule", "sometimes", "--probability", "1", "--epochs", "4"]
    done = commands.aecompress("prune", *WORDS, *published, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for words, fault in (
        (["--schedule", "straight", "--probability", "1"], "prune.schedule = 'straight': is a rise to a target"),
        (["--operator", "wanda", *published], "choose random, variance, conjunctive or order, or prune to a target"),
    ):
        refused = commands.aecompress("prune", *WORDS, *words, "-o", tmp_path / "other")
        assert refused.returncode == 2 and fault in refused.stderr, refused.stderr


@pytest.mark.usefixtures("rows")
def test_a_toy_operator_has_its_own_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for probability in (0.5, 0.25):
        monkeypatch.setitem(OPERATORS, "order", replace(toys.ORDER, probability=probability))
        done = commands.aecompress("spec", *WORDS[:-1], "--schedule", "fixed", "--set", "prune.drive=probability")
        assert f"\nprobability = {probability}" in done.stdout, done.stderr
        assert probabilities() == f"0.1 for variance, {'' if probability == 0.5 else '0.25 for order, '}else 0.5"


@pytest.mark.usefixtures("rows")
def test_a_toy_row_is_listed_wherever_names_are(tmp_path: Path) -> None:
    refused = commands.aecompress("spec", "--operator", "oder", "--schedule", "steep", "--variants", "lists")
    for names in (["auto", "none", *OPERATORS], SCHEDULES, VARIANTS):
        assert f"should be {listed(map(repr, names))}" in refused.stderr.replace("\n", " ")
    schema = RunSpec.model_json_schema()["$defs"]
    ours = {"enum": ["auto", "none", *OPERATORS], "type": "string"}
    assert ours in schema["PruneSpec"]["properties"]["operator"]["anyOf"] and "order" in OPERATORS
    assert schema["ExportSpec"]["properties"]["variants"]["items"]["enum"] == list(VARIANTS)
