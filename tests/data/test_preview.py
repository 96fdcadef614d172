"""A preview: what is read, what each column becomes, what may be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aecompress.data.base import Raw, Request
from aecompress.data.preview import FIRST_ROWS, names_of, preview, scaling_words
from aecompress.data.scaling import UNSCALED, Scaling
from aecompress.data.sources.registry import read
from aecompress.data.table import Column, Table

N = 40
RNG = np.random.default_rng(27)
NUMBERS = RNG.normal(size=(N, 2))
TABLE = Table(
    cells=np.column_stack([1.7e9 + 60.0 * np.arange(N), NUMBERS, RNG.integers(0, 2, (N, 2))]),
    columns=(
        Column(name="when", holds="date"),
        Column(name="a"),
        Column(name=""),
        Column(name="kind", holds="text", texts=("pump", "fan")),
        Column(name="fault"),
    ),
    notes=("cells are separated by ';'",),
)
REQUEST = Request(source="my rows.csv")


def test_a_table_is_shown_with_what_each_column_becomes() -> None:
    seen = preview(REQUEST, Raw(name="rows", train=TABLE))
    assert (seen.rows, seen.width) == (N, 5)
    assert seen.read_as == ("40 rows of 5 columns", "cells are separated by ';'")
    assert seen.names == ("when", "a", "(2)", "kind", "fault")
    assert [one.kind for one in seen.columns] == ["date", "number", "number", "category", "label"]
    assert [one.becomes for one in seen.columns] == ["fault", "keep", "keep", "one-hot", "fault"]
    assert seen.columns[0].low == "2023-11-14 22:13:20" and seen.columns[1].low == NUMBERS[:, 0].min()
    assert seen.columns[3].low is None and seen.columns[3].examples == ("pump", "fan")
    assert len(seen.first_rows) == FIRST_ROWS
    assert seen.first_rows[0][0] == "2023-11-14 22:13:20" and seen.first_rows[0][3] in ("pump", "fan")
    assert float(seen.first_rows[1][1]) == pytest.approx(NUMBERS[1, 0], rel=1e-14)
    assert seen.command == "aecompress prune 'my rows.csv' --dates drop --label fault"
    assert not seen.cures


def test_flags_change_what_columns_become() -> None:
    request = replace(REQUEST, dates="cyclic", label="fault", categories="drop")
    seen = preview(request, Raw(name="rows", train=TABLE))
    assert [one.becomes for one in seen.columns] == ["cyclic", "keep", "keep", "leave out", "label"]
    assert seen.command == "aecompress prune 'my rows.csv' --label fault --dates cyclic --categories drop"


def test_an_array_is_shown_as_rows_where_it_has_columns() -> None:
    seen = preview(REQUEST, Raw(name="rows", train=NUMBERS.astype(np.float32)))
    assert seen.read_as == ("float32 array of shape (40, 2)",) and seen.names == ("0", "1")
    assert seen.first_rows[0] == tuple(f"{value:.6g}" for value in NUMBERS[0].astype(np.float32).tolist())
    assert seen.columns == () and seen.command == "aecompress prune 'my rows.csv'"
    images = preview(REQUEST, Raw(name="rows", train=np.zeros((9, 4, 4, 3), np.uint8)))
    assert images.width == 48 and images.first_rows == () and images.names == ()


def test_a_series_has_a_command_that_makes_windows_of_it() -> None:
    for rows, window in ((200, 16), (60, 6), (5, 2)):
        seen = preview(REQUEST, Raw(name="rows", train=np.zeros(rows)))
        assert seen.cures and seen.command.endswith(f" --window {window}")
    assert not preview(replace(REQUEST, window=8), Raw(name="rows", train=np.zeros(200))).cures


def test_rows_that_are_kept_sparse_have_a_size_alone(tmp_path) -> None:
    (tmp_path / "pairs.csv").write_text("user,item\n" + "".join(f"u{n % 5},i{n % 7}\n" for n in range(30)))
    request = Request(source=f"interactions:{tmp_path / 'pairs.csv'}")
    seen = preview(request, read(request))
    assert seen.read_as == ("5 rows of 7 columns, kept sparse",) and not seen.first_rows


def test_scaling_is_described_with_its_reason() -> None:
    assert scaling_words("auto", UNSCALED) == ()
    (halves,) = scaling_words("auto", Scaling("bytes", 0.0, 255.0))
    assert halves == "bytes are divided by 255: they reach 128 (--scaling auto)"
    (ranges,) = scaling_words("auto", Scaling("minmax", 0.0, 2.0))
    assert "by its range in the training rows: its values do not lie there" in ranges
    (standard,) = scaling_words("standard", Scaling("standard", 0.0, 2.0))
    assert standard.endswith("in the training rows (--scaling standard)")


def test_columns_without_names_are_numbered() -> None:
    assert names_of((), 3) == names_of(("", "", ""), 3) == ("0", "1", "2")
    assert names_of(("", "a"), 2) == ("(0)", "a")


def test_what_counts_is_shown_with_its_reason() -> None:
    cells = np.column_stack([np.arange(N) + 5.0, np.full(N, 7.0), NUMBERS])
    columns = tuple(Column(name=name) for name in ("n", "c", "a", "b"))
    seen = preview(REQUEST, Raw(name="rows", train=Table(cells=cells, columns=columns)))
    assert [one.why for one in seen.columns] == ["rises by 1 from row to row", "is 7 wherever it has a value", "", ""]


def test_files_and_missing_names_are_reported() -> None:
    files = (("a.npy", 30), ("b.npy", 10))
    seen = preview(REQUEST, Raw(name="rows", train=NUMBERS, files=files))
    assert seen.read_as == ("float64 array of shape (40, 2)", "2 files, one after the other")
    unnamed = Table(cells=NUMBERS, columns=(Column(name=""),) * 2, named=False)
    assert preview(REQUEST, Raw(name="rows", train=unnamed)).read_as[1:] == (
        "columns have no names and are numbered from 0",
    )


def test_the_command_names_all_files() -> None:
    request = replace(REQUEST, more=("b.npy",))
    assert preview(request, Raw(name="rows", train=NUMBERS)).command == "aecompress prune 'my rows.csv' b.npy"
