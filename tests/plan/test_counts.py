from __future__ import annotations

from typing import Any

import pytest

from aecompress.plan.counts import budgets_of, cells_of, generations_of, members_of
from aecompress.spec.fields import RunSpec
from aecompress.spec.toml import nest


def spec_of(fields: dict[str, Any]) -> RunSpec:
    complete = {"train.epochs": 5, "prune.target_sparsity": 0.8, "evolve.budgets": "same", "evolve.rule": "pair"}
    return RunSpec.model_validate(nest(complete | fields))


@pytest.mark.parametrize(
    ("fields", "cells", "budgets"),
    [
        ({}, 4, (0.8,) * 4),
        ({"evolve.cells": 3, "evolve.budgets": (0.0, 0.8, 0.9)}, 3, (0.0, 0.8, 0.9)),
        ({"mode": "canonical"}, 1, (0.8,)),
        ({"mode": "canonical", "budget.max_loss_increase": 0.05}, 2, (0.0, 0.8)),
        ({"mode": "canonical", "evolve.cells": 2, "evolve.budgets": (0.1, 0.2)}, 1, (0.8,)),
    ],
)
def test_every_cell_has_a_budget(fields: dict[str, Any], cells: int, budgets: tuple[float, ...]) -> None:
    spec = spec_of(fields)
    assert (cells_of(spec), budgets_of(spec)) == (cells, budgets)


def test_pruning_in_one_shot_is_one_generation() -> None:
    assert generations_of(spec_of({})) == 5
    assert generations_of(spec_of({"train.epochs": 0})) == 1


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ({"evolve.cells": 9, "evolve.radius": 2}, 5),
        ({"evolve.cells": 9, "evolve.topology": "moore"}, 9),
        ({"evolve.cells": 9, "evolve.rule": "panmictic"}, 1),
        ({"mode": "canonical"}, 1),
    ],
)
def test_a_rule_without_space_has_neighbourhoods_of_one(fields: dict[str, Any], members: int) -> None:
    assert members_of(spec_of(fields)) == members
