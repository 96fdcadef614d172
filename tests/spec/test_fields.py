from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from aecompress.engines.eager import UPDATES
from aecompress.evolve.operators import OPERATORS
from aecompress.evolve.rules.registry import RULES
from aecompress.evolve.schedules import SCHEDULES
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.nets.losses import LOSSES
from aecompress.plan.auto import NETWORKS
from aecompress.spec import fields as module
from aecompress.spec.fields import (
    FIELDS,
    RULE_TRAITS,
    BudgetSpec,
    PruneSpec,
    RunSpec,
    drive_of,
    metric_of,
    regrowth_possible,
    rule_traits,
)


def test_names_in_the_spec_are_those_of_the_registries() -> None:
    assert set(get_args(module.OperatorName)) == {"none", *OPERATORS}
    assert set(get_args(module.RuleName)) == set(RULES) - {"alone"}
    assert set(get_args(module.TopologyName)) == set(TOPOLOGIES)
    assert set(get_args(module.ScheduleName)) == {"cubic", *SCHEDULES}
    assert set(get_args(module.OptimizerName)) == set(UPDATES)
    assert set(NETWORKS) == set(get_args(module.NetworkName)) - {"default"}
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


def test_every_rule_has_traits_and_one_autoencoder_has_those_of_alone() -> None:
    assert set(RULE_TRAITS) == {"alone", "auto", *get_args(module.RuleName)}
    spec = RunSpec.model_validate({"evolve": {"rule": "panmictic"}})
    assert rule_traits(spec) == RULE_TRAITS["panmictic"]
    assert rule_traits(spec.model_copy(update={"mode": "canonical"})) == RULE_TRAITS["alone"]
