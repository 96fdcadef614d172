from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from aecompress.data.facts import Facts
from aecompress.errors import CONTROL, SpecError
from aecompress.plan.auto import complete
from aecompress.plan.facts import RunFacts
from aecompress.spec import toml
from aecompress.spec.fields import FIELDS
from aecompress.spec.resolve import resolve
from aecompress.spec.toml import flatten, nest, parse_assignment, read_toml, to_toml

FACTS = RunFacts(data=Facts(rows=1438, inputs=64, binary=False, unit=True))


def test_flat_and_nested_tables_are_each_other_turned_round() -> None:
    nested = {"seed": 1, "train": {"batch": 8}, "model": {"hidden": [3]}}
    assert flatten(nested) == {"seed": 1, "train.batch": 8, "model.hidden": [3]}
    assert nest(flatten(nested)) == nested
    assert nest({"train": 3, "train.batch": 8}) == {"train": 3}


def test_assignments_are_toml_or_text() -> None:
    assert parse_assignment("train.batch=64") == ("train.batch", 64)
    assert parse_assignment("data.split=[1,0,0]") == ("data.split", [1, 0, 0])
    assert parse_assignment("data.source=a=b.npy") == ("data.source", "a=b.npy")
    with pytest.raises(SpecError, match="write it as section.field=value"):
        parse_assignment("train.batch")


def test_toml_reads_back_to_the_same_spec(tmp_path: Path) -> None:
    flags = {
        "model.encoder": ("--set", [{"out": 8, "activation": "gelu"}]),
        "model.decoder": ("--set", [{"out": 64, "activation": "sigmoid"}]),
        "data.source": ("--set", 'odd "name" 😀\\.npy'),
    }
    done = complete(resolve(flags), FACTS)
    file = tmp_path / "spec.toml"
    file.write_text(to_toml(done))
    again = resolve(file=file)
    assert again.spec == done.spec
    assert again.spec.hash == done.spec.hash
    assert set(flatten(tomllib.loads(file.read_text()))) == set(FIELDS)


def test_layers_without_out_and_with_numbers_of_their_own_read_back(tmp_path: Path) -> None:
    written = [{"kind": "max-pool", "kernel": [2, 2]}, {"kind": "lstm", "out": 3, "sequences": False}, {"out": 8}]
    flags = {"model.encoder": ("--set", written), "model.decoder": ("--set", [{"out": 64}])}
    done = resolve(flags)
    assert [layer.activation for layer in done.spec.model.encoder][::2] == ["identity", "relu"]
    file = tmp_path / "spec.toml"
    file.write_text(to_toml(done))
    again = resolve(file=file)
    assert again.spec == done.spec and again.spec.hash == done.spec.hash
    pool = tomllib.loads(file.read_text())["model"]["encoder"][0]
    assert pool == {"kind": "max-pool", "activation": "identity", "kernel": [2, 2]}


def test_a_spec_with_control_characters_is_printed_without_them_and_reads_back(tmp_path: Path) -> None:
    name = "a\x1b]0;x\x07\x9b\u202eb\x7f.npy"
    done = complete(resolve({"data.source": ("--set", name)}), FACTS)
    text = to_toml(done)
    assert CONTROL.search(text) is None
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    assert resolve(file=tmp_path / "spec.toml").spec.data.source == name


def test_a_file_of_megabytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("#" * (toml.MOST_BYTES + 1))
    with pytest.raises(SpecError, match=r"a\.toml: is not TOML \(has more than 1 MiB\); correct it there"):
        read_toml(tmp_path / "a.toml")
