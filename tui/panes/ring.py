"""The ring of cells, coloured by loss or by sparsity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from aecompress.events import Generation

from .. import draw
from ..story import Story


class Ring(Widget, can_focus=True):
    """The cells, coloured by loss or by sparsity, with where each individual came from."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous cell", show=False),
        Binding("right", "move(1)", "Next cell", show=False),
        Binding("enter", "open", "Open cell"),
    ]
    cell: reactive[int] = reactive(0)
    colour: reactive[str] = reactive("loss")
    best: reactive[int] = reactive(0)
    generation: reactive[Generation | None] = reactive(None)
    count: reactive[int] = reactive(0, layout=True)
    touched = False
    """Whether the user has chosen a cell; until then the best one is chosen."""

    @dataclass
    class Opened(Message):
        """The user wants a cell's detail."""

        cell: int

    @dataclass
    class Chosen(Message):
        """Another cell is chosen."""

        cell: int

    def show(self, story: Story) -> None:
        """Draw the last generation's cells."""
        self.best, self.generation = story.best, story.latest
        if not self.touched:
            self.cell = story.best

    def place(self, cell: int) -> Region:
        """Return where a cell is drawn, in lines of this widget."""
        return Region(0, 1 + 2 * draw.row_of(cell, self.count, self.size.width), 1, 2)

    def render(self) -> RenderResult:
        latest = self.generation
        if latest is None:
            return Text("no epoch yet", "dim")
        values = latest.validation_loss if self.colour == "loss" else latest.sparsity
        labels = [draw.short(v) if self.colour == "loss" else f"{v:.1%}" for v in values]
        title = latest.metric if self.colour == "loss" else "sparsity"
        text = Text(f"by {title}; * best, <> copied from\n", "dim", no_wrap=True)
        width = max(self.size.width, 16)
        return text.append_text(draw.ring(values, labels, latest.parents, self.cell, self.best, width))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return 1 + 2 * draw.ring_rows(self.count, width) if self.count else 1

    def watch_generation(self) -> None:
        self.count = len(self.generation.validation_loss) if self.generation else 0

    def watch_cell(self) -> None:
        self.post_message(self.Chosen(self.cell))

    def action_move(self, by: int) -> None:
        if self.count:
            self.touched = True
            self.cell = (self.cell + by) % self.count

    def action_open(self) -> None:
        if self.count:
            self.post_message(self.Opened(self.cell))

    def on_click(self, event: events.Click) -> None:
        if not self.count:
            return
        cell = draw.cell_at(event.x, event.y - 1, self.count, self.size.width)
        if cell is None:
            return
        self.touched = True
        if cell == self.cell:
            self.action_open()
        self.cell = cell
