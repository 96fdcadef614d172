from __future__ import annotations

from typing import Any

import pytest

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.plan.auto import complete, pruning_end
from aecompress.spec.fields import FIELDS
from aecompress.spec.resolve import resolve
from aecompress.spec.toml import flatten

SETTLED_LATER = {
    "device", "data.scaling", "data.header", "compile", "evolve.budgets", "evolve.rule", "prune.end",
    "budget.min_sparsity",
}  # fmt: skip
FACTS = Facts(rows=1438, inputs=64, binary=False, unit=True)


def test_complete_fills_every_auto_field_and_says_so() -> None:
    done = complete(resolve(), FACTS)
    values = flatten(done.spec.model_dump())
    assert "auto" not in {
        value for path, value in values.items() if isinstance(value, str) and path not in SETTLED_LATER
    }
    assert (done.spec.model.hidden, done.spec.model.latent, done.spec.train.batch) == ((32,), 8, 16)
    assert done.sources["model.hidden"] == "from the data"
    assert set(done.sources) == set(FIELDS)


@pytest.mark.parametrize(
    ("facts", "output", "loss"),
    [
        (Facts(100, 10, True, True), "sigmoid", "bce-then-l1"),
        (Facts(100, 10, False, True), "sigmoid", "mse"),
        (Facts(100, 10, False, False), "identity", "mse"),
    ],
)
def test_output_and_loss_follow_the_data(facts: Facts, output: str, loss: str) -> None:
    spec = complete(resolve(), facts).spec
    assert (spec.model.output, spec.train.loss) == (output, loss)


@pytest.mark.parametrize(
    ("flags", "facts", "said"),
    [
        ({"model.latent": 65}, FACTS, "the rows have only 64 inputs"),
        ({"model.encoder": [{"out": 3}], "model.decoder": [{"out": 4}]}, FACTS, "set its out to 64"),
        ({"train.loss": "bce"}, Facts(10, 4, False, False), "needs rows in [0, 1]"),
    ],
)
def test_what_the_data_cannot_give_is_refused(flags: dict[str, Any], facts: Facts, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        complete(resolve({path: ("flag", value) for path, value in flags.items()}), facts)
    assert said in str(caught.value)


@pytest.mark.parametrize("inputs", [1, 2, 3, 5, 64, 784, 1000, 100000])
def test_the_default_network_fits_any_width(inputs: int) -> None:
    spec = complete(resolve(), Facts(1000, inputs, False, True)).spec
    assert isinstance(spec.model.latent, int)
    assert 1 <= spec.model.latent <= inputs
    assert spec.model.hidden[0] <= 512


@pytest.mark.parametrize(
    ("flags", "target", "end"),
    [
        ({}, 0.5, 0.75),
        ({}, 0.8, 0.75),
        ({}, 0.9, 0.5995),
        ({}, 0.98, 0.25),
        ({}, 0.999, 0.2),
        ({"prune.end": 0.4}, 0.9, 0.4),
        ({"prune.start": 0.5}, 0.8, 0.875),
        ({"prune.regrowth": 0}, 0.98, 0.75),
        ({"prune.granularity": "unit"}, 0.8, 0.5),
        ({"train.loss": "bce-then-l1"}, 0.5, 0.2),
    ],
)
def test_the_end_of_pruning_follows_loss_and_target(flags: dict[str, Any], target: float, end: float) -> None:
    spec = complete(resolve({path: ("flag", value) for path, value in flags.items()}), FACTS).spec
    assert pruning_end(spec, target) == pytest.approx(end, abs=1e-3)
