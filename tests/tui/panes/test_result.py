from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import DataTable

from aecompress.event_log import read_log
from aecompress.events import Compared
from aecompress_tui.panes.result import before_and_after
from tests.fixtures.remake import LOG
from tests.tui.driving import drive, ready, until


def test_the_table_has_what_needs_no_training_below_the_files() -> None:
    logged = next(event for event in read_log(LOG) if isinstance(event, Compared))
    compared = replace(logged, baselines=("PCA, same code",), baseline_losses=(0.25,), baseline_nonzeros=(9,))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(before_and_after(compared, False))
    (row,) = (line for line in capture.get().splitlines() if line.startswith("PCA, same code"))
    assert row.split()[3:] == ["0.250000", "9"] and len(row) <= 80


def test_files_that_come_while_the_result_is_open_are_chosen_by_keys(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"saved"' in line)
    log.write_text("".join(lines[:first]))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("4")
        files = app.screen.query_one("#files", DataTable)
        await until(pilot, lambda: not files.display and app.focused is None)
        with log.open("a") as more:
            more.writelines(lines[first:])
        await until(pilot, lambda: files.row_count == 9 and app.focused is files)
        await pilot.press("down")
        assert files.cursor_row == 1

    drive(recorded, steps)


@pytest.mark.slow
def test_a_path_is_copied_and_a_report_is_written_and_opened(recorded: Path) -> None:
    opened: list[str] = []

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one("#files", DataTable).row_count == 9)
        await pilot.press("down", "y")
        assert app.clipboard == str(recorded / "model" / "model.safetensors")
        app.open_url = opened.append
        await pilot.press("o")
        await until(pilot, lambda: bool(opened), patience=60)
        assert opened == [(recorded / "report.html").resolve().as_uri()]
        assert "<title>coevo-digits</title>" in (recorded / "report.html").read_text()
        (recorded / "report.html").unlink()
        (recorded / "report.html").mkdir()
        await pilot.press("o")
        await until(pilot, lambda: any("is a folder" in n.message for n in app._notifications), patience=60)

    drive(recorded, steps)
