"""Shared by all tests of the terminal UI: a terminal with all colours, one time zone, a recorded run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from pathlib import Path

import pytest

from tests.fixtures.remake import LOG


@pytest.fixture(autouse=True)
def one_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a real finished run, by a path that is the same in every test."""
    monkeypatch.chdir(tmp_path)
    return write_run(Path("runs") / "coevo-digits")


def write_run(folder: Path, status: str = "finished") -> Path:
    """Write a run folder with the recorded log, last changed three days ago."""
    folder.mkdir(parents=True)
    shutil.copy(LOG, folder / "events.jsonl")
    (folder / "run.json").write_text(json.dumps({"status": status, "host": platform.node(), "pid": 1}))
    ago = time.time() - 3 * 86400 - 60
    os.utime(folder / "run.json", (ago, ago))
    return folder
