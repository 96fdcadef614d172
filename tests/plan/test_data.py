"""A request has every field of the spec's data, and the same defaults."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from aecompress.data.base import Request
from aecompress.plan.data import request_of
from aecompress.spec.fields import DataSpec


def test_the_defaults_of_a_request_are_those_of_the_spec() -> None:
    assert request_of(DataSpec(), 0) == Request()


def test_every_field_of_the_spec_arrives() -> None:
    spec = DataSpec(
        source="a.npz",
        key="k",
        columns="1",
        header="no",
        split=(0.6, 0.3, 0.1),
        val="v.npy",
        test="t.npy",
        labels="l.npy",
        scaling="minmax",
    )
    request = request_of(spec, 7, Path("there"))
    renamed = {"val": "validation"}
    values = {renamed.get(name, name): getattr(spec, name) for name in DataSpec.model_fields}
    assert {name: getattr(request, name) for name in values} == values
    assert (request.seed, request.directory) == (7, Path("there"))
    assert {field.name for field in fields(Request)} == values.keys() | {"seed", "directory"}
    default = Request()
    assert all(getattr(request, field.name) != getattr(default, field.name) for field in fields(Request))
