from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TabbedContent

from aecompress_tui import build_app
from aecompress_tui.screens.launch import LaunchScreen
from tests.tui.driving import drive, ready, text_of, until

SIZES = [(80, 24), pytest.param((120, 40), marks=pytest.mark.slow)]
TEXTS = {"1": "sparsity by layer", "2": "validation rows", "3": "front: ", "4": "verified in onnxruntime"}


def test_every_part_of_a_finished_run_is_reached_by_its_key(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        assert "finished" in text_of(app)
        assert "epoch 8/8" in text_of(app)
        for key, words in TEXTS.items():
            await pilot.press(key)
            await until(pilot, lambda words=words: words in text_of(app))

    drive(recorded, steps)


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 60), marks=pytest.mark.slow)])
@pytest.mark.parametrize("key", TEXTS)
def test_every_part_fits_every_terminal(recorded: Path, size: tuple[int, int], key: str) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(pilot, lambda: TEXTS[key] in text_of(app))
        shown = text_of(app).split("\n")
        assert len(shown) == size[1]
        assert "Help" in shown[-1] or "palette" in shown[-1]

    drive(recorded, steps, size)


@pytest.mark.parametrize("colours", [pytest.param("standard", marks=pytest.mark.slow), "256"])
def test_a_terminal_of_few_colours_shows_every_part(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, colours: str
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", colours)

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        assert app.console.color_system == colours
        await ready(app, pilot)
        for key, words in TEXTS.items():
            await pilot.press(key)
            await until(pilot, lambda words=words: words in text_of(app))
            if key == "2":
                await until(pilot, lambda: ("▀" in text_of(app)) == (colours == "256"))

    drive(recorded, steps)


def test_help_palette_and_themes(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "aecompress watch" in text_of(app))
        await pilot.press("escape")
        dark = app.theme
        await pilot.press("d")
        assert app.theme != dark
        await pilot.press("ctrl+p")
        await pilot.press(*"show result")
        await until(pilot, lambda: "A part of this run" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one(TabbedContent).active == "result")

    drive(recorded, steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", TEXTS)
def test_snapshots_of_a_run(recorded: Path, snap_compare: Any, size: tuple[int, int], key: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(pilot, lambda: TEXTS[key] in text_of(pilot.app))
        await pilot.pause(0.7)

    assert snap_compare(build_app(recorded), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", ["runs", "launch", "cell", "help"])
def test_snapshots_of_the_other_screens(recorded: Path, snap_compare: Any, size: tuple[int, int], screen: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        if screen in ("runs", "launch"):
            await until(pilot, lambda: "3 d ago" in text_of(app))
        else:
            await ready(app, pilot)
        if screen == "launch":
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
            app.screen.query_one("#data", Input).cursor_blink = False
            app.screen.query_one("#output", Input).value = "runs/new"
        elif screen != "runs":
            await pilot.press("enter" if screen == "cell" else "question_mark")
        await pilot.pause(0.7)

    folder = recorded if screen in ("cell", "help") else recorded.parent
    assert snap_compare(build_app(folder), terminal_size=size, run_before=before)
