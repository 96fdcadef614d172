from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, Static

from aecompress_tui.screens.launch import LaunchScreen
from tests.tui.driving import drive, until


def test_the_form_shows_its_command_line_and_what_is_wrong(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        app.screen.query_one("#output", Input).value = "runs/new"
        app.screen.query_one("#field-train-epochs", Input).value = "-3"
        await until(pilot, lambda: app.screen.query_one("#start").disabled)
        assert "train.epochs = -3 (--epochs)" in str(app.screen.query_one("#faults", Static).content)
        app.screen.query_one("#field-train-epochs", Input).value = "30"
        await until(pilot, lambda: not app.screen.query_one("#start").disabled)
        assert str(app.screen.query_one("#command", Static).content) == (
            "aecompress prune digits --epochs 30 -o runs/new"
        )
        app.screen.query_one("#output", Input).value = str(recorded)
        await until(pilot, lambda: "is not empty" in str(app.screen.query_one("#faults", Static).content))

    drive(Path("runs"), steps)


def test_a_run_that_cannot_start_says_why_in_the_form(tmp_path: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        app.screen.query_one("#data", Input).value = "missing.npy"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "missing.npy: no such file" in str(app.screen.query_one("#faults", Static).content))
        assert isinstance(app.screen, LaunchScreen)
        assert not list(tmp_path.iterdir())

    drive(tmp_path, steps)
