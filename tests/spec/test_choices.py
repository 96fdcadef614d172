"""A name that a spec gives is one of the rows, or of an installed package's."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from aecompress import plugins
from aecompress.spec.choices import OneOf
from tests.test_plugins import PACKAGE

NAMES = ["first", "second"]


class Table(BaseModel):
    ours: Annotated[str, OneOf(lambda: NAMES)] = "first"
    written: Annotated[str, OneOf(lambda: NAMES, pattern="first:[0-9]+", example="first:2")] = "first"
    open: Annotated[str, OneOf(lambda: NAMES, plugins.OPERATORS)] = "second"


def test_another_name_of_one_is_taken_as_ours() -> None:
    class Spelt(BaseModel):
        name: Annotated[str, OneOf(lambda: NAMES, spellings={"1st": "first"})]

    assert Spelt(name="1st").name == "first"
    assert Spelt.model_json_schema()["properties"]["name"]["enum"] == ["first", "second", "1st"]


@pytest.mark.parametrize("value", ["third", "", "First", 3, None, ["first"], True])
def test_what_is_no_name_is_refused_with_the_names(value: object) -> None:
    with pytest.raises(ValidationError, match="Input should be 'first' or 'second'"):
        Table.model_validate({"ours": value})


def test_names_are_looked_up_at_each_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.spec.test_choices.NAMES", ["first", "second", "third"])
    assert Table.model_validate({"ours": "third"}).ours == "third"
    assert Table.model_json_schema()["properties"]["ours"]["enum"] == ["first", "second", "third"]


def test_a_text_of_a_pattern_is_taken_and_its_example_stands_in_the_message() -> None:
    assert Table.model_validate({"written": "first:20"}).written == "first:20"
    for value in ("first:", "first:x", "second:2", " first:2", "first:2\n"):
        with pytest.raises(ValidationError, match="Input should be 'first', 'second' or a text such as 'first:2'"):
            Table.model_validate({"written": value})
    schema = Table.model_json_schema()["properties"]["written"]["anyOf"]
    assert schema[1]["pattern"] == "^first:[0-9]+$"


def test_a_packages_name_is_taken_and_looked_for_only_where_ours_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = plugins.names
    monkeypatch.setattr(plugins, "names", lambda group: asked.append(group) or real(group))
    assert Table.model_validate({"open": "first"}).open == "first" and not asked
    with pytest.raises(ValidationError, match="'first' or 'second' or a plug-in's name, and none is installed"):
        Table.model_validate({"open": "signed"})
    monkeypatch.syspath_prepend(str(PACKAGE))
    assert Table.model_validate({"open": "signed"}).open == "signed" and asked
    with pytest.raises(ValidationError, match="'first' or 'second' or a plug-in's: absent, short, signed, wrong"):
        Table.model_validate({"open": "other"})
