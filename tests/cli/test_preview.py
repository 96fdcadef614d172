"""How a preview looks on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from aecompress.cli.preview import MOST_COLUMNS, cell, emit_facts, emit_rows, reach_of, record, short
from aecompress.data.base import Raw, Request
from aecompress.data.preview import ColumnFacts, Preview, preview
from aecompress.data.table import Column, Table

EVIL = "a\x1b[31m\u202e\tb"
RNG = np.random.default_rng(27)


class Terminal(io.StringIO):
    """A stream that is a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, seen: Preview, facts: dict[str, object]) -> list[str]:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    emit_rows(seen)
    emit_facts(seen, facts)
    return stream.getvalue().splitlines()


def wide(width: int, rows: int = 30) -> Preview:
    cells = RNG.normal(size=(rows, width))
    cells[3, 1] = np.nan
    cells[:, 2] = 7
    columns = tuple(Column(name=f"pixel {place}") for place in range(width))
    return preview(Request(source="rows.csv"), Raw(name="rows", train=Table(cells=cells, columns=columns)))


@pytest.mark.parametrize("width", [3, 8, MOST_COLUMNS, MOST_COLUMNS + 1, 784])
def test_a_table_of_any_width_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = on_terminal(monkeypatch, wide(width), {"inputs": width})
    assert max(map(len, lines)) <= 80 and len(lines) < MOST_COLUMNS + 20
    assert lines[0] == f"30 rows of {width} columns"
    assert any(line.startswith("first rows") for line in lines)
    assert lines[-2:] == ["next:", "  aecompress prune rows.csv --missing median"]
    (head,) = (place for place, line in enumerate(lines) if line.startswith("column "))
    body = lines[head + 1 : lines.index("", head)]
    assert len(body) == (width if width <= MOST_COLUMNS else 3)
    assert [line.split()[-1] for line in body].count("fault") == 1
    if width == 784:
        assert body[0].startswith("pixel 0 + 781 more  number") and "pixel 2  " in body[2]


def test_a_pipe_gets_a_line_for_each_column_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    seen = wide(30)
    emit_rows(seen)
    emit_facts(seen, {"inputs": 30, "mean": 0.123456789})
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    columns = [line for line in lines if line[0] == "column"]
    assert len(columns) == 30 and {len(line) for line in columns} == {10}
    low = seen.columns[1].low
    assert columns[1][1:5] == ["pixel 1", "number", "1", f"{low:.9g}"]
    assert ["mean", "0.123457"] in lines and lines[-1] == ["command", "aecompress prune rows.csv --missing median"]


def test_rows_that_cannot_be_used_have_no_facts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = wide(3)
    emit_facts(seen, {})
    assert capsys.readouterr().out == "command\taecompress prune rows.csv --missing median\n"
    assert not any("next:" in line for line in on_terminal(monkeypatch, seen, {}))


def test_json_has_all_of_it() -> None:
    seen = wide(30)
    found = json.loads(json.dumps(record(seen, {"inputs": 30}, ["note"], ["fault"]), allow_nan=False))
    assert next(iter(found)) == "inputs" and (found["notes"], found["faults"]) == (["note"], ["fault"])
    assert len(found["columns"]) == 30 and found["columns"][1]["missing"] == 1
    assert [len(row) for row in found["first_rows"]] == [30] * 5 and len(found["names"]) == 30


def test_names_of_others_do_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(cells=np.zeros((12, 1)), columns=(Column(name=EVIL, holds="text", texts=(EVIL,)),), notes=(EVIL,))
    lines = on_terminal(monkeypatch, preview(Request(source=EVIL), Raw(name="rows", train=table)), {"name": EVIL})
    assert all(sign.isprintable() for line in lines for sign in line)


def facts(low: float | str | None, high: float | str | None) -> ColumnFacts:
    return ColumnFacts(
        name="", kind="", becomes="", why="", missing=0, infinite=0, low=low, high=high,
        outliers=0, sentinels=(), distinct=0, examples=("fan", "", "fan"),
    )  # fmt: skip


def test_ranges_are_short() -> None:
    assert reach_of(facts(-9999, 4.6931)) == "-9999 to 4.693" and reach_of(facts(7, 7)) == "7"
    assert reach_of(facts("2024-01-01", "2024-03-01")) == "2024-01-01 to 2024-03-01"
    assert reach_of(facts("2024-01-01 00:10", "2024-01-01 03:19:30")) == "2024-01-01 00:10 to 03:19"
    assert reach_of(facts(None, None)) == "fan"


def test_cells_are_short() -> None:
    assert cell("-0.248941146186222") == "-0.248941" and cell("0.5") == "0.5"
    assert cell("1700000000") == "1700000000" and cell("x" * 30) == short("x" * 30) == "x" * 17 + "..."
    assert (
        cell("2024-01-01 00:01:00.500") == "2024-01-01 00:01:..." and cell("www.example.org/1") == "www.example.org/1"
    )
