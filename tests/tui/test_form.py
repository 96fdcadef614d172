from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aecompress.cli.main import app
from aecompress.errors import SpecError
from aecompress.registry import OPERATORS, SCHEDULES
from aecompress.spec.fields import FIELDS
from aecompress.spec.presets import PRESETS
from aecompress.spec.resolve import resolve
from aecompress.spec.toml import flatten
from aecompress_tui.form import PRESET_NAMES, SHOWN, Request, arguments, command_line, faults, form_fields


def request(output: str, data: str = "digits", preset: str = "default", more: str = "", **texts: str) -> Request:
    values = {field.replace("__", "."): text for field, text in texts.items()}
    return Request(data=data, preset=preset, texts=values, more=more, output=output)


def test_the_form_has_the_fields_and_choices_of_the_spec() -> None:
    fields = {field.flag.field: field for field in form_fields()}
    assert tuple(fields) == SHOWN and set(SHOWN) < set(FIELDS)
    assert fields["prune.operator"].choices == ("auto", "none", *OPERATORS)
    assert fields["prune.schedule"].choices == tuple(SCHEDULES)
    assert fields["train.epochs"].choices == () and fields["train.epochs"].default == "auto"
    assert set(PRESET_NAMES) == set(PRESETS)


def test_the_form_and_its_command_line_request_the_same(tmp_path: Path) -> None:
    form = request(
        str(tmp_path / "a b"),
        train__epochs="30",
        model__hidden="24,12",
        prune__schedule="exponential",
        preset="paper-coevo",
        more="train.warmup=0.2 checkpoint_every=5",
    )
    assert faults(form) == []
    words = shlex.split(command_line(form))
    assert words[:2] == ["aecompress", "prune"] and words[1:] == arguments(form)
    assert words[-2:] == ["-o", str(tmp_path / "a b")]
    done = CliRunner().invoke(app, ["spec", *words[2:-2]])
    assert done.exit_code == 0, done.output
    given = flatten(tomllib.loads(done.stdout))
    expected = {
        "train.epochs": 30,
        "model.hidden": [24, 12],
        "prune.schedule": "exponential",
        "train.warmup": 0.2,
        "checkpoint_every": 5,
        "train.optimizer": "fresh-adam",
    }
    assert {field: given[field] for field in expected} == expected


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        ({"train__epochs": "-3"}, "", "train.epochs = -3 (--epochs)"),
        ({"model__hidden": "64,x"}, "", "--hidden"),
        ({}, "nonsense", "--set nonsense"),
        ({}, "train.nothing=1", "train.nothing"),
        ({}, "'open", "close the quotation"),
    ],
)
def test_a_fault_names_its_flag(tmp_path: Path, texts: dict[str, str], more: str, words: str) -> None:
    found = faults(request(str(tmp_path / "new"), more=more, **texts))
    assert len(found) == 1 and words in found[0]
    assert command_line(request(str(tmp_path / "new"), more=more, **texts)).startswith("aecompress prune digits")


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(faults(request(str(tmp_path / "file"), train__epochs="0", seed="x", more="bad"))) == 4
    assert faults(request("")) == ["-o: give the run a folder"]
    assert "is not empty" in faults(request(str(tmp_path)))[0]


def test_every_choice_of_the_form_is_accepted_and_reaches_the_command_line(tmp_path: Path) -> None:
    chosen = [(field.flag, choice) for field in form_fields() for choice in field.choices]
    assert {flag.field for flag, _ in chosen} >= {"mode", "model.family", "prune.granularity"}
    for flag, choice in chosen:
        form = Request(
            data="digits", preset="default", texts={flag.field: choice}, more="", output=str(tmp_path / "new")
        )
        words = arguments(form)
        assert words[words.index(flag.flag) + 1] == choice
        values = {flag.field: (flag.flag, choice)}
        try:
            resolve(values, None, None)
        except SpecError as refused:
            assert faults(form) == refused.faults and all(flag.flag in fault for fault in refused.faults)
        else:
            assert faults(form) == []


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(NAMES, NAMES)
def test_a_shell_parses_the_command_line_into_the_arguments(data: str, folder: str) -> None:
    form = Request(data=data, preset="paper-coevo", texts={"train.epochs": "7"}, more="train.warmup=0.2", output=folder)
    assert shlex.split(command_line(form)) == ["aecompress", *arguments(form)]
    assert arguments(form)[1] == data and arguments(form)[-1] == folder
