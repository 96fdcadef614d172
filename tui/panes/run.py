"""The tab of a run as it is: ring, layers, curves, events."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll

from ..story import Story
from .base import Key, Pane
from .curves import Curves
from .layers import Layers
from .log import EventLog
from .ring import Ring


class RunPane(Pane):
    """The ring with the chosen cell's layers, the curves, and the events."""

    KEYS = (
        Key("l", "colour", "Colour"),
        Key("v", "view", "View"),
        Key("c", "chart", "Chart"),
    )
    FOCUS = "#ring"

    def compose(self) -> ComposeResult:
        with Horizontal(id="now"):
            with Vertical(id="side"):
                with VerticalScroll(id="around", can_focus=False):
                    yield Ring(id="ring")
                yield Layers(id="layers")
            yield Curves(id="charts")
        yield EventLog(id="log")

    def show(self, story: Story, status: str) -> None:
        ring = self.query_one(Ring)
        ring.show(story)
        self.query_one(Layers).show(story.layers, ring.cell)
        self.query_one(EventLog).show(story)
        self.query_one(Curves).show(story, ring.cell)

    @on(Ring.Chosen)
    def show_chosen_cell(self, message: Ring.Chosen) -> None:
        """Scroll a ring too large for its place to the chosen cell, and draw that cell's layers and curves."""
        ring = self.query_one(Ring)
        if ring.count:
            self.query_one("#around").scroll_to_region(ring.place(message.cell), animate=False, force=True)
        self.post_message(self.Changed())

    def action_colour(self) -> None:
        ring = self.query_one(Ring)
        ring.colour = "sparsity" if ring.colour == "loss" else "loss"

    def action_view(self) -> None:
        self.query_one(Curves).next_view()
        self.post_message(self.Changed())

    def action_chart(self) -> None:
        self.query_one(Curves).next_chart()
        self.post_message(self.Changed())
