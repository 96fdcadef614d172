"""One run: follows its event log, shows it in tabs, and steers the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.markup import escape
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Footer, TabbedContent
from textual.worker import get_current_worker

from aecompress.errors import AecompressError, printable
from aecompress.printable import one_line
from aecompress.steering import order

from ..follow import Batch, follow
from ..panes import TABS, Tab
from ..panes.base import Pane
from ..panes.head import Head
from ..panes.result import NOTICES
from ..panes.ring import Ring
from ..reader import name_of
from ..story import Story, extend
from .dialogs import Cell, Confirm

PAINT_SECONDS = 1.25
"""Between two drawings of the screen, however fast events come."""


@dataclass
class Grew(Message):
    """The follower found something."""

    batch: Batch


def bindings(tabs: Sequence[Tab]) -> list[BindingType]:
    """Return the keys of a screen of ``tabs``: one to open each, those of its pane, and those of the run."""
    opening = [Binding(tab.key, f"tab('{tab.name}')", tab.title, show=False) for tab in tabs]
    own = [Binding(key.key, f"pane('{tab.name}', '{key.action}')", key.label) for tab in tabs for key in tab.pane.KEYS]
    steering = [Binding("p", "pause", "Pause"), Binding("s", "stop", "Stop"), Binding("escape", "back", "Runs")]
    return [*opening, *own, *steering]


class RunScreen(Screen[None]):
    """Everything about one run folder."""

    TABS: ClassVar[Sequence[Tab]] = TABS
    BINDINGS: ClassVar[list[BindingType]] = bindings(TABS)
    status: reactive[str] = reactive("opening")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.story = Story()
        self.stale = True
        self.behind = False

    def compose(self) -> ComposeResult:
        yield Head(id="head")
        with TabbedContent(initial=self.TABS[0].name):
            for tab in self.TABS:
                yield tab.pane(f"{tab.key} {tab.title}", tab.name, self.folder)
        yield Footer()

    def on_mount(self) -> None:
        self.action_tab(self.TABS[0].name)
        self.repaint()
        self.follow_log()
        self.set_interval(PAINT_SECONDS, self.paint)
        self.paint_head()

    def on_screen_resume(self) -> None:
        self.paint()

    # Following.

    @work(thread=True, exclusive=True, exit_on_error=False)
    def follow_log(self) -> None:
        """Post what the log grows by, in a thread."""
        worker = get_current_worker()
        for batch in follow(self.folder, lambda: worker.is_cancelled):
            self.post_message(Grew(batch))

    def on_grew(self, message: Grew) -> None:
        batch = message.batch
        if batch.restarted:
            self.story = Story()
        had = self.story.latest is not None
        extend(self.story, batch.events)
        self.story.damaged += batch.damaged
        self.status = "paused" if self.story.paused and batch.status == "running" else batch.status
        first = not batch.behind and (self.behind or not had)
        self.stale, self.behind = True, batch.behind
        if first:  # what the user waits for is shown at once
            self.paint()

    def watch_status(self, old: str, new: str) -> None:
        self.paint_head()
        self.refresh_bindings()
        if old not in ("opening", new) and new in NOTICES:
            bad = new in ("failed", "killed", "vanished")
            self.notify(NOTICES[new], title=escape(name_of(self.folder)), severity="error" if bad else "information")

    # Painting: only what is seen, at intervals.

    @property
    def pane(self) -> Pane:
        """Return the pane of the open tab."""
        return self.query_one(f"#{self.query_one(TabbedContent).active}", Pane)

    def paint_head(self) -> None:
        """Draw the line above the tabs."""
        if self.is_mounted:
            now = time.time() if self.status == "running" else None
            self.query_one(Head).show(name_of(self.folder), self.status, self.story, now)

    def paint(self) -> None:
        """Draw the open tab, where something is new."""
        if not self.is_current:
            return
        self.paint_head()
        if self.stale:
            self.stale = False
            self.pane.show(self.story, self.status)

    @on(TabbedContent.TabActivated)
    @on(Pane.Changed)
    def repaint(self) -> None:
        """Draw the open tab although no event is new."""
        self.stale = True
        self.refresh_bindings()
        self.call_after_refresh(self.paint)

    # What the user does.

    @on(Ring.Opened)
    def open_cell(self, message: Ring.Opened) -> None:
        """Show one cell in detail."""
        self.app.push_screen(Cell(self.story, message.cell))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys of other panes, and those that steer a run which has ended."""
        if action in ("pause", "stop"):
            return self.status in ("running", "paused")
        return action != "pane" or not self.is_mounted or self.query_one(TabbedContent).active == parameters[0]

    def action_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        self.query_one(self.pane.FOCUS).focus()

    async def action_pane(self, name: str, action: str) -> None:
        await self.app.run_action(action, self.query_one(f"#{name}"))

    def action_pause(self) -> None:
        word = "resume" if self.status == "paused" else "pause"
        self.steer(word, f"{word.capitalize()} {name_of(self.folder)}?")

    def action_stop(self) -> None:
        how = f"`aecompress prune --resume {printable(str(self.folder))}` resumes it"
        self.steer("stop", f"Stop {name_of(self.folder)}? It keeps its last epoch; {how}.")

    @work
    async def steer(self, word: str, question: str) -> None:
        """Order the run to pause, resume or stop, once the user has confirmed it."""
        if not await self.app.push_screen_wait(Confirm(question)):
            return
        try:
            order(self.folder, word)
            self.notify(f"{word} requested", title=escape(name_of(self.folder)))
        except AecompressError as fault:
            self.notify(one_line(str(fault)), severity="error", markup=False)

    def action_back(self) -> None:
        self.app.show_runs(self.folder.parent)  # type: ignore[attr-defined]
