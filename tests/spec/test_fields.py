from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from aecompress.engines.eager import UPDATES
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.nets.losses import LOSSES
from aecompress.plan.auto import NETWORKS
from aecompress.registry import RULES, RuleRow, rules_of
from aecompress.spec import fields as module
from aecompress.spec.fields import (
    FIELDS,
    BudgetSpec,
    PruneSpec,
    RunSpec,
    drive_of,
    metric_of,
    regrowth_possible,
    rule_facts,
    rule_of,
)


def test_names_in_the_spec_are_those_of_the_registries() -> None:
    assert set(get_args(module.TopologyName)) == set(TOPOLOGIES)
    assert set(get_args(module.OptimizerName)) == set(UPDATES)
    assert set(NETWORKS) == set(get_args(module.NetworkName)) - {"default", "conv", "pca"}
    assert set(get_args(module.MetricName)) == set(LOSSES)


def test_every_field_has_a_description_and_is_frozen() -> None:
    schema = RunSpec.model_json_schema()
    parts = [schema, *(part for name, part in schema["$defs"].items() if name != "LayerSpec")]
    leaves = [(name, field) for part in parts for name, field in part["properties"].items() if "$ref" not in field]
    assert len(leaves) == len(FIELDS)
    assert [name for name, field in leaves if not field.get("description")] == []
    with pytest.raises(ValidationError, match="frozen"):
        RunSpec().seed = 3  # type: ignore[misc]


def test_the_hash_is_that_of_the_values() -> None:
    assert RunSpec().hash == RunSpec(seed=0).hash != RunSpec(seed=1).hash
    assert len(RunSpec().hash) == 16


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), (" 12.5 % ", 0.125), (0.3, 0.3)])
def test_a_share_can_be_written_in_percent(text: object, share: float) -> None:
    assert BudgetSpec.model_validate({"max_loss_increase": text}).max_loss_increase == pytest.approx(share)


@pytest.mark.parametrize(
    ("prune", "drive"),
    [
        (PruneSpec(), "target"),
        (PruneSpec(probability=0.5), "probability"),
        (PruneSpec(form="published"), "probability"),
        (PruneSpec(drive="target", probability=0.5), "target"),
    ],
)
def test_the_drive_follows_the_number_that_is_given(prune: PruneSpec, drive: str) -> None:
    assert drive_of(prune) == drive
    assert regrowth_possible(RunSpec(prune=prune)) == (drive == "target")


def test_the_reported_metric_is_a_loss() -> None:
    assert [metric_of(name) for name in get_args(module.LossName)] == ["l1", "mse", "bce", "huber", "l1"]


def test_the_rule_of_canonical_mode_is_its_own_and_an_open_one_has_the_facts_of_an_ordinary_one() -> None:
    spec = RunSpec.model_validate({"evolve": {"rule": "panmictic"}})
    assert rule_of(spec) == "panmictic"
    assert [rule_of(spec.model_copy(update={"mode": "canonical"}))] == rules_of("canonical") == ["alone"]
    assert rule_facts("panmictic") is RULES["panmictic"]
    ordinary = rule_facts(rule_of(RunSpec()))
    assert ordinary.spatial and not ordinary.own_budgets and not ordinary.changes_partners


def test_a_rule_can_be_named_as_soon_as_it_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="Input should be 'dominance', 'pair', .* or 'panmictic'"):
        RunSpec.model_validate({"evolve": {"rule": "toy"}})
    for wrong in ("alone", 3, None):
        with pytest.raises(ValidationError, match="Input should be 'dominance', "):
            RunSpec.model_validate({"evolve": {"rule": wrong}})
    monkeypatch.setitem(RULES, "toy", RuleRow(visit="toys:toy", about="plays"))
    spec = RunSpec.model_validate({"evolve": {"rule": "toy"}})
    assert rule_of(RunSpec.model_validate_json(spec.model_dump_json())) == "toy"
    schema = RunSpec.model_json_schema()["$defs"]["EvolveSpec"]["properties"]["rule"]
    assert {"enum": [*rules_of("coevo")], "type": "string"} in schema["anyOf"] and "toy" in rules_of("coevo")


@pytest.mark.parametrize(("part", "field"), [(module.ModelSpec, "noise"), (module.TrainSpec, "walk")])
def test_a_number_that_float32_does_not_hold_is_refused(part: type[module.ModelSpec], field: str) -> None:
    part(**{field: 1})
    with pytest.raises(ValidationError, match="less than or equal"):
        part(**{field: 1e300})
