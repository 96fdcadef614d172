"""The registry of sources by name, and what every row must do."""

from __future__ import annotations

import numpy as np
import pytest

from aecompress.data.arrays import ROWS
from aecompress.data.base import Array, Raw, Request
from aecompress.data.dataset import load
from aecompress.data.sources.registry import SOURCES, Source, file_of, find_source, kind_of, read
from aecompress.errors import DataError


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_found_by_its_name(name: str) -> None:
    row = SOURCES[name]
    assert row.usage.partition(":")[0] == name
    assert find_source(row.usage) is find_source(name) is row
    assert kind_of(row.usage) is row.kind
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


def test_a_new_source_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_ramp(request: Request) -> Raw[Array]:
        count = int(request.source.partition(":")[2])
        return Raw(name="ramp", train=np.arange(2.0 * count).reshape(count, 2))

    monkeypatch.setitem(SOURCES, "ramp", Source("ramp:N", read_ramp))
    dataset = load(Request(source="ramp:5", split=(1, 0, 0), scaling="none"))
    assert (dataset.name, dataset.kind, dataset.train[:, 0].tolist()) == ("ramp", ROWS, [0, 2, 4, 6, 8])
