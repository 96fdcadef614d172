"""Tables on a terminal and in a pipe."""

from __future__ import annotations

import io
import os
import pty
import sys
from dataclasses import replace

import pytest

from aecompress.cli.tables import before_and_after, columns, emit_table
from aecompress.event_log import read_log
from aecompress.events import Compared
from tests.fixtures.remake import LOG

COMPARED = next(event for event in read_log(LOG) if isinstance(event, Compared))


class Terminal(io.StringIO):
    """A stream that is a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, rows: list[tuple[object, ...]], left: int = 1) -> list[str]:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    emit_table(rows, left)
    return stream.getvalue().splitlines()


def test_columns_are_aligned() -> None:
    assert columns([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc   d"
    assert columns([("a", "bb", "1"), ("ccc", "d", "22")], left=2) == "a    bb   1\nccc  d   22"


def test_a_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table([("weights", "a\tb", 12), ("", "c", 3)])
    assert capsys.readouterr().out == "weights\ta\\tb\t12\n\tc\t3\n"


def test_a_terminal_gets_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(monkeypatch, [("file", "bytes"), ("a.onnx", 1200)]) == ["file    bytes", "a.onnx   1200"]


def test_a_table_wider_than_the_terminal_is_turned_where_that_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [tuple(f"head {n}" for n in range(20)), tuple(range(20))]
    lines = on_terminal(monkeypatch, rows)
    assert len(lines) == 20 and lines[0] == "head 0    0" and lines[19] == "head 19  19"
    long = "x" * 70
    rows = [("passed", "name", long), ("passed", "longer name", long)]
    assert on_terminal(monkeypatch, rows, left=3) == [f"passed  name  {long}", f"passed  longer name  {long}"]


def test_a_narrow_terminal_goes_without_spare_columns_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("layer", "kind", "a", "b"), ("one", "dense", "x" * 40, "y" * 40)]
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    emit_table(rows, 2, (3, 2))
    assert stream.getvalue().splitlines()[0].split() == ["layer", "kind", "a"]


def test_a_real_terminal_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        emit_table([("a", 1), ("bcd", 20)])
    assert os.read(ours, 100).split() == [b"a", b"1", b"bcd", b"20"]
    os.close(ours)


def test_a_narrow_terminal_gets_a_table_that_fits_and_is_told_what_it_lacks() -> None:
    whole, narrow = before_and_after(COMPARED).splitlines(), before_and_after(COMPARED, 80).splitlines()
    assert len(narrow) == len(whole) + 1 and narrow[-1].startswith("(non-zeros; ")
    assert max(map(len, narrow)) <= 80 < max(map(len, whole))
    assert before_and_after(COMPARED, 200).splitlines() == whole


def test_a_table_that_nothing_makes_narrow_is_printed_all_the_same() -> None:
    busy = replace(COMPARED, files=("dense", *(f"{'long' * 30}.onnx" for _ in COMPARED.files[1:])))
    assert before_and_after(busy, 80).splitlines()[0].split() == ["file", "bytes", "faster,", "64", "rows", "loss"]
