"""What every pane of the table does, and what a new tab takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input, TabbedContent

from aecompress.event_log import read_log
from aecompress_tui.panes import TABS, Tab
from aecompress_tui.panes.base import Key, Pane
from aecompress_tui.screens.run import RunScreen, bindings
from aecompress_tui.story import Story, extend
from tests.fixtures.remake import LOG
from tests.tui.driving import drive, text_of, until


def test_tabs_have_keys_and_names_of_their_own() -> None:
    keys = [tab.key for tab in TABS] + [key.key for tab in TABS for key in tab.pane.KEYS] + ["p", "s", "escape"]
    assert len(TABS) == 4 and len(set(keys)) == len(keys)
    assert len({tab.name for tab in TABS}) == len({tab.pane for tab in TABS}) == len(TABS)


def test_a_pane_is_opened_by_its_key_and_only_then_has_its_own_keys(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.status == "finished" and app.screen.story.latest is not None)
        for tab in reversed(TABS):
            await pilot.press(tab.key)
            await until(pilot, lambda tab=tab: app.focused is app.screen.query_one(tab.pane.FOCUS))
            assert isinstance(app.screen.pane, tab.pane) and app.screen.pane.folder == recorded
            shown = {key for key, binding in app.screen.active_bindings.items() if binding.binding.show}
            assert {key.key for key in tab.pane.KEYS} <= shown
            assert not shown & {key.key for other in TABS if other is not tab for key in other.pane.KEYS}

    drive(recorded, steps)


def test_every_pane_shows_a_story_of_any_length(recorded: Path) -> None:
    log = read_log(LOG)

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.status == "finished" and app.screen.story.latest is not None)
        for tab in TABS:
            await pilot.press(tab.key)
            await until(pilot, lambda tab=tab: isinstance(app.screen.pane, tab.pane))
            for count in (0, 1, len(log), 0):
                story = Story()
                extend(story, log[:count])
                app.screen.pane.show(story, "running")
                await pilot.pause()

    drive(recorded, steps)


class Notes(Pane):
    """A tab with a line to write on."""

    KEYS = (Key("f9", "sign", "Sign"),)
    FOCUS = "#note"

    def compose(self) -> ComposeResult:
        yield Input(id="note")

    def show(self, story: Story, status: str) -> None:
        self.border_title = f"{status}, epoch {story.latest.generation if story.latest else 0}"
        self.styles.border = ("solid", "green")

    def action_sign(self) -> None:
        self.query_one(Input).value = "signed"


class ScreenWithNotes(RunScreen):
    TABS = (*TABS, Tab("Notes", "5", Notes))
    BINDINGS = bindings(TABS)


def test_a_new_tab_is_one_class_and_one_row(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        app.switch_screen(ScreenWithNotes(recorded))
        await until(pilot, lambda: isinstance(app.screen, ScreenWithNotes) and "5 Notes" in text_of(app))
        await pilot.press("5")
        await until(pilot, lambda: "finished, epoch 8" in text_of(app) and "Sign" in text_of(app))
        await pilot.press("f9")
        await until(pilot, lambda: "signed" in text_of(app))
        await pilot.press("ctrl+p")
        await pilot.press(*"show notes")
        await until(pilot, lambda: "Show notes" in text_of(app))
        await pilot.press("enter")
        await pilot.press("ctrl+p")
        await pilot.press(*"show run")
        await until(pilot, lambda: "Show run" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one(TabbedContent).active == "run")
        await until(pilot, lambda: "Sign" not in text_of(app).splitlines()[-1])

    drive(recorded, steps)
