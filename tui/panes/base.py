"""The interface of a pane: the content of one tab of a run's screen."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.message import Message
from textual.widgets import TabPane

from ..story import Story


class Key(NamedTuple):
    """A key that works while its pane is open, and the pane's action that it calls."""

    key: str
    action: str
    label: str


class Pane(TabPane):
    """One tab. It composes its widgets, draws the story that it is shown, and has keys of its own."""

    KEYS: ClassVar[tuple[Key, ...]] = ()
    FOCUS: ClassVar[str]
    """Selector of the widget that takes the keyboard when the tab is opened."""

    class Changed(Message):
        """The user changed how the pane draws the story, so it is to be shown again."""

    def __init__(self, title: str, name: str, folder: Path) -> None:
        super().__init__(title, id=name)
        self.folder = folder

    def show(self, story: Story, status: str) -> None:
        """Draw the run; the screen calls this only while the tab is open.

        Args:
            story: the events so far; one object for as long as the log is the same.
            status: opening, running, paused, finished, stopped, failed, killed or vanished.
        """
        raise NotImplementedError
