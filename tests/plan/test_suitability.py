from __future__ import annotations

import pytest

from aecompress.errors import SpecError
from aecompress.plan.auto import complete
from aecompress.plan.suitability import UNSUITABLE, Unsuitable
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
    with pytest.raises(SpecError, match="the rows have only 8 inputs; choose at most 8"):
        row = sentences["model.latent"]
        complete(resolve({path: ("--set", value) for path, value in row.example.items()}), row.facts)


def test_layers_that_are_those_of_the_pretrained_model_may_be_written_out() -> None:
    row = next(row for row in UNSUITABLE if row.field == "model.encoder")
    fields = {**row.example, "model.encoder": [{"out": 4}, {"out": 2, "activation": "identity"}]}
    done = complete(resolve({path: ("--set", value) for path, value in fields.items()}), row.facts)
    assert done.sources["model.encoder"] == "--set"
