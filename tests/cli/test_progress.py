"""A run's events as lines on stderr."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aecompress.cli.progress import SUMMARY, show
from aecompress.event_log import read_log
from aecompress.events import Started
from tests.fixtures.remake import LOG

EVENTS = read_log(LOG)


def test_a_run_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    kept = show(EVENTS, 8, quiet=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert kept == [event for event in EVENTS if isinstance(event, SUMMARY)]
    lines = err.splitlines()
    assert lines[0].startswith("coevo-digits: 5 models of 2,276 parameters, ")
    assert [line.split()[1] for line in lines if line.startswith("epoch ")][-1] == "8/8"
    assert any(line.startswith("resumed after epoch ") for line in lines)
    assert any(line.startswith("verified in onnxruntime: ") for line in lines)
    end = next(place for place, line in enumerate(lines) if line.startswith("sparsity "))
    assert " weights and biases are zero; " in lines[end]
    assert [line.partition(": ")[0] for line in lines[end + 1 :]] == ["l1", "mse"]


def test_a_quiet_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVENTS, 8, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_names_from_a_log_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    started = next(event for event in EVENTS if isinstance(event, Started))
    show([replace(started, run="\x1b]0;x\x07[red]name[/]", engine="long " * 60)], 8, quiet=False)
    _, err = capsys.readouterr()
    assert err.startswith("\\x1b]0;x\\x07[red]name[/]: 5 models")
    assert len(err.splitlines()) == 1, "a message is one line where there is no terminal"
