"""The registry of sources by name, and what every row must do."""

from __future__ import annotations

import pkgutil
from dataclasses import replace

import numpy as np
import pytest

from aecompress.data.arrays import ROWS
from aecompress.data.base import Array, Raw, Request
from aecompress.data.dataset import load
from aecompress.data.sources.registry import file_of, kind_of, read
from aecompress.errors import DataError
from aecompress.registry import FORMATS, SOURCES, SourceRow, data_usage, find_source
from tests.commands import aecompress


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_found_by_its_name(name: str) -> None:
    row = SOURCES[name]
    assert row.usage.partition(":")[0] == name
    assert find_source(row.usage) is find_source(name) is row
    assert kind_of(row.usage) is pkgutil.resolve_name(row.kind)
    other = f"{name}s:x"
    assert find_source(other) is None and kind_of(other) is ROWS


def test_a_source_names_the_file_that_it_reads() -> None:
    assert [file_of(source) for source in ("a.npz:k", "interactions:p.csv")] == ["a.npz:k", "p.csv"]
    assert [file_of(source) for source in ("digits", "binary-clusters:3x4x20")] == ["digits", "binary-clusters:3x4x20"]


def test_what_follows_the_name_of_a_source_without_argument_is_a_key() -> None:
    with pytest.raises(DataError, match=r"^digits: not a data source"):
        read(Request(source="digits:3"))


@pytest.mark.parametrize("name", ["digits", "binary-clusters:3x4x20"])
def test_built_in_sets_have_no_parts(name: str) -> None:
    for part in ({"key": "a"}, {"columns": "a"}):
        with pytest.raises(DataError, match=r"has no parts to choose, so leave out data\..* = 'a'"):
            read(Request(source=name, **part))


def read_ramp(request: Request) -> Raw[Array]:
    """Return rows that count up."""
    count = int(request.source.partition(":")[2])
    return Raw(name="ramp", train=np.arange(2.0 * count).reshape(count, 2))


RAMP = SourceRow(usage="ramp:N", read="tests.data.sources.test_registry:read_ramp")


def test_a_new_source_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "ramp", RAMP)
    dataset = load(Request(source="ramp:5", split=(1, 0, 0), scaling="none"))
    assert (dataset.name, dataset.kind, dataset.train[:, 0].tolist()) == ("ramp", ROWS, [0, 2, 4, 6, 8])


def test_a_new_source_that_brings_its_splits_says_so_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    for own_splits in (False, True):
        monkeypatch.setitem(SOURCES, "ramp", replace(RAMP, own_splits=own_splits))
        done = aecompress("spec", "ramp:20", "--split", "0.5,0.25,0.25")
        assert (done.returncode == 2) == own_splits
        assert ("ramp:20 brings its own three splits" in done.stderr) == own_splits
    file = aecompress("spec", "binary-clusters.csv", "--split", "0.5,0.25,0.25")
    assert file.stderr == "aecompress: binary-clusters.csv: no such file; check the path\n"


def test_the_help_names_every_source_and_format() -> None:
    usage = data_usage()
    assert all(row.usage in usage for row in SOURCES.values()) and all(ending in usage for ending in FORMATS)
    shown = " ".join(aecompress("spec", "--help").stdout.replace("│", " ").split())
    assert usage.replace("-", "") in shown.replace("-", "").replace("- ", "")
