from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import DataTable

from aecompress_tui.screens.launch import LaunchScreen
from aecompress_tui.screens.run import RunScreen
from aecompress_tui.screens.runs import RunsScreen
from tests.tui.conftest import write_run
from tests.tui.driving import drive, text_of, until


def test_the_list_of_runs_opens_one_and_comes_back(recorded: Path) -> None:
    write_run(Path("runs/killed"), "running")
    (Path("runs") / "no-run").mkdir()

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, RunsScreen)
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 2)
        shown = text_of(app)
        assert "killed" in shown and "finished" in shown and "3 d ago" in shown
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "sparsity by layer" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))

    drive(Path("runs"), steps)


def test_the_list_of_runs_shows_how_far_a_sweep_is(recorded: Path) -> None:
    progress = {"study": "paper", "status": "stopped", "runs": 12, "finished": ["a", "b", "c"], "failed": {"d": "why"}}
    (Path("runs") / "sweep.json").write_text(json.dumps(progress))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "3 of 12 runs, 1 failed, stopped" in text_of(app))
        assert "paper  █████░░░░░░░░░░░░░░░" in text_of(app)
        progress["finished"] = list("abcdefghijkl")
        (Path("runs") / "sweep.json").write_text(json.dumps(progress | {"status": "finished", "failed": {}}))
        await until(pilot, lambda: "12 of 12 runs, finished" in text_of(app))

    drive(Path("runs"), steps)


def test_an_empty_folder_of_runs_says_how_to_start_one(tmp_path: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "n starts one" in text_of(app))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))

    drive(tmp_path, steps)
