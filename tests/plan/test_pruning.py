from __future__ import annotations

from typing import Any

import pytest

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.plan.auto import complete, pruning_end
from aecompress.plan.budget import most_sparse
from aecompress.plan.facts import RunFacts
from aecompress.plan.network import network_of
from aecompress.plan.pruning import check_target, pruning_of, shape_of
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import resolve
from tests.test_plugins import PACKAGE

FACTS = RunFacts(data=Facts(rows=1438, inputs=64, binary=False, unit=True))


def spec_of(fields: dict[str, Any]) -> RunSpec:
    return complete(resolve({path: ("test", value) for path, value in fields.items()}), FACTS).spec


@pytest.mark.parametrize("fields", [{"prune.operator": "none"}, {"prune.target_sparsity": 0.0}])
def test_nothing_is_pruned_where_nothing_is_requested(fields: dict[str, Any]) -> None:
    spec = spec_of(fields)
    assert pruning_of(spec, network_of(spec.model, (64,))) is None


def test_every_cell_rises_to_a_target_of_its_own() -> None:
    spec = spec_of({})
    pruning = pruning_of(spec, network_of(spec.model, (64,)))
    assert pruning is not None and pruning.probability is None
    assert pruning.targets == spec.evolve.budgets
    for curve, target in zip(pruning.curves, pruning.targets, strict=True):
        end = pruning_end(spec, target)
        assert curve(end) == 1.0 and curve(end - 0.01) < 1.0


def test_a_probability_follows_the_schedule() -> None:
    spec = spec_of(
        {"prune.operator": "random", "prune.schedule": "increase", "prune.probability": 0.4, "train.epochs": 11}
    )
    pruning = pruning_of(spec, network_of(spec.model, (64,)))
    assert pruning is not None and pruning.probability is not None and pruning.curves == ()
    assert pruning.probability(5) == pytest.approx(0.2)
    assert shape_of(spec).final == 10
    assert shape_of(spec_of({"mode": "canonical", "train.epochs": 11})).final == 11


def test_a_target_that_would_empty_a_layer_is_refused_with_the_highest_that_does_not() -> None:
    spec = spec_of({})
    net = network_of(spec.model, (64,))
    most = most_sparse(spec, net)
    check_target(spec, net, most)
    with pytest.raises(SpecError, match=f"would empty a layer .*; choose at most {most}"):
        check_target(spec, net, most + 1e-4)
    units = spec_of({"prune.granularity": "unit"})
    with pytest.raises(SpecError, match="whole hidden units, of which every layer keeps one"):
        check_target(units, net, 0.9999)


@pytest.mark.parametrize("operator", ["wanda", "magnitude", "signed"])
def test_an_operator_without_a_published_form_is_not_driven_by_a_probability(
    operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))  # brings the operator signed, which is looked at when the plan loads it
    with pytest.raises(SpecError) as caught:
        spec = spec_of({"prune.operator": operator, "prune.schedule": "fixed", "prune.probability": 0.4})
        pruning_of(spec, network_of(spec.model, (64,)))
    assert caught.value.faults == [
        f"prune.operator = {operator!r}: has no published form, so a probability cannot drive it; choose random, "
        "variance or conjunctive, or prune to a target"
    ]
