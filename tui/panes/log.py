"""The list of a run's events."""

from __future__ import annotations

import time

from rich.text import Text
from textual.widgets import RichLog

from aecompress.events import Event

from ..story import LOG_LINES, Story, describe

ENDS = ("failed", "stopped", "finished")


class EventLog(RichLog):
    """The events, newest at the bottom."""

    def __init__(self, id: str) -> None:
        super().__init__(max_lines=LOG_LINES, wrap=False, id=id)
        self.story = Story()
        self.count = 0

    def show(self, story: Story) -> None:
        """Append what is new; clear the list for another story."""
        if story is not self.story:
            self.clear()
            self.story, self.count = story, 0
        fresh = min(story.count - self.count, len(story.log))
        self.count = story.count
        if fresh > 0:
            for event in list(story.log)[-fresh:]:
                self.write(line_of(event))


def line_of(event: Event) -> Text:
    """Return an event with its time of day."""
    text = Text(time.strftime("%H:%M:%S", time.localtime(event.at)), "dim", no_wrap=True)
    return text.append(" " + describe(event), "bold" if event.kind in ENDS else "")
