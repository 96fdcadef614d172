from __future__ import annotations

from typing import Any

import pytest

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.plan.auto import complete
from aecompress.plan.facts import RunFacts
from aecompress.plan.network import network_of
from aecompress.plan.suitability import UNSUITABLE, Unsuitable, notes_of
from aecompress.spec.fields import FIELDS
from aecompress.spec.resolve import resolve


@pytest.mark.parametrize("row", UNSUITABLE, ids=lambda row: row.sentence[:60])
def test_what_the_rows_or_a_model_cannot_give_is_the_one_fault_of_its_example(row: Unsuitable) -> None:
    assert row.field in FIELDS
    with pytest.raises(SpecError) as caught:
        complete(resolve({path: ("--set", value) for path, value in row.example.items()}), row.facts)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(row.field) and "{" not in caught.value.faults[0].replace("{'out'", "")
    begin, _, end = row.sentence.rpartition("}") if "{" in row.sentence else ("", "", row.sentence)
    assert caught.value.faults[0].endswith(end), begin


def test_numbers_of_rows_and_network_are_in_the_sentences() -> None:
    sentences = {row.field: row for row in UNSUITABLE}
    with pytest.raises(SpecError, match="a pass has 100 steps"):
        row = sentences["prune.per_generation"]
        complete(resolve({path: ("--set", value) for path, value in row.example.items()}), row.facts)


def test_a_code_larger_than_the_rows_is_allowed_with_a_note() -> None:
    facts = RunFacts(data=Facts(rows=1000, inputs=8, binary=False, unit=True))

    def notes(**changes: Any) -> tuple[str, ...]:
        flags = {path.replace("__", "."): ("--set", value) for path, value in changes.items()}
        spec = complete(resolve({"model.hidden": ("--set", [12])} | flags), facts).spec
        return notes_of(spec, network_of(spec.model, (8,)))

    assert notes(model__latent=8) == ()
    told = "the code has 20 values, more than the 8 inputs, so a network can copy its rows"
    assert notes(model__latent=20) == (
        f"{told}; train.code_l1 (a sparse code) or model.family = 'denoising' keeps it from that",
    )
    assert notes(model__latent=20, train__code_l1=0.1) == notes(model__latent=20, model__family="denoising") == (told,)


def test_a_sparse_code_has_relu_units_where_none_are_named() -> None:
    facts = RunFacts(data=Facts(rows=1000, inputs=8, binary=False, unit=True))
    for value, activation in ((0.0, "identity"), (0.1, "relu")):
        done = complete(resolve({"train.code_l1": ("--set", value)}), facts)
        assert done.spec.model.latent_activation == activation


def test_layers_that_are_those_of_the_pretrained_model_may_be_written_out() -> None:
    row = next(row for row in UNSUITABLE if row.field == "model.encoder")
    fields = {**row.example, "model.encoder": [{"out": 4}, {"out": 2, "activation": "identity"}]}
    done = complete(resolve({path: ("--set", value) for path, value in fields.items()}), row.facts)
    assert done.sources["model.encoder"] == "--set"
