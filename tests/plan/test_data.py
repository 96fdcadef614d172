"""A request has every field of the spec's data, and the same defaults."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from aecompress.data.base import Request
from aecompress.errors import SpecError
from aecompress.plan.data import request_of
from aecompress.spec.fields import DataSpec


def test_the_defaults_of_a_request_are_those_of_the_spec() -> None:
    assert request_of(DataSpec(), 0) == Request()


def test_every_field_of_the_spec_arrives() -> None:
    spec = DataSpec(
        source=["a.npz", "b.npz"],
        key="k",
        columns="1",
        header="no",
        split=(0.6, 0.3, 0.1),
        val="v.npy",
        test="t.npy",
        labels="l.npy",
        label="fault",
        missing="median",
        dates="cyclic",
        categories="drop",
        split_by="order",
        window=8,
        stride=2,
        in_memory="no",
        scaling="minmax",
    )
    request = request_of(spec, 7, Path("there"))
    renamed = {"val": "validation"}
    values = {renamed.get(name, name): getattr(spec, name) for name in DataSpec.model_fields}
    assert {name: getattr(request, name) for name in values} == values
    assert (request.seed, request.directory) == (7, Path("there"))
    assert {field.name for field in fields(Request)} == values.keys() | {"seed", "directory", "report", "scratch"}
    default = Request()
    assert all(
        getattr(request, field.name) != getattr(default, field.name)
        for field in fields(Request)
        if field.name in values
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("key", "rows"), ("val", "v.npy"), ("test", "t.npy"), ("labels", "l.npy"), ("scaling", "minmax")],
)
def test_what_a_kind_of_data_leaves_no_choice_in_is_refused_before_it_is_read(name: str, value: str) -> None:
    spec = DataSpec.model_validate({"source": "interactions:pairs.csv", name: value})
    with pytest.raises(SpecError) as caught:
        request_of(spec, 0)
    assert str(caught.value) == (
        f"data.{name} = {value!r}: interactions are split by user and stay 0 and 1; leave it out"
    )
    assert request_of(spec.model_copy(update={"source": "pairs.csv"}), 0).source == "pairs.csv"


def test_all_that_a_kind_refuses_is_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        request_of(DataSpec(source="interactions:pairs.csv", key="k", test="t.npy", scaling="none"), 0)
    assert [fault.partition(" = ")[0] for fault in caught.value.faults] == ["data.key", "data.test"]
