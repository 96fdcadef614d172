"""Small screens over the others: a question, and one cell in detail."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from .. import draw
from ..story import Story
from ..widgets import Chart, loss_lines, sparsity_lines


class Confirm(ModalScreen[bool]):
    """A question with yes and no; no is the safe key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Yes (y)", id="yes", variant="warning")
                yield Button("No (n)", id="no", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Cell(ModalScreen[None]):
    """One cell: its figures, its layers, its ancestors, its curves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back"),
        Binding("left", "move(-1)", "Previous cell"),
        Binding("right", "move(1)", "Next cell"),
    ]

    def __init__(self, story: Story, cell: int) -> None:
        super().__init__()
        self.story = story
        self.cell = cell

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog large"):
            with VerticalScroll():
                yield Static(id="figures")
            with Horizontal(id="cell-charts"):
                yield Chart(id="cell-loss")
                yield Chart(id="cell-sparsity")

    def on_mount(self) -> None:
        self.show()

    def on_resize(self) -> None:
        self.show()

    def action_move(self, by: int) -> None:
        latest = self.story.latest
        if latest:
            self.cell = (self.cell + by) % len(latest.validation_loss)
            self.show()

    def show(self) -> None:
        """Draw the chosen cell."""
        self.query_one("#figures", Static).update(figures(self.story, self.cell))
        generations = self.story.generations
        self.query_one("#cell-loss", Chart).draw(
            self.story.metric, loss_lines("cell", self.cell), generations, log=True
        )
        self.query_one("#cell-sparsity", Chart).draw("sparsity", sparsity_lines("cell", self.cell), generations)


def figures(story: Story, cell: int) -> Table:
    """Return the figures of a cell after the last generation."""
    table = Table.grid(padding=(0, 2))
    latest = story.latest
    table.add_row(Text(f"cell {cell}" + (", the best" if cell == story.best else ""), "bold"))
    if latest is None:
        return table
    rows = [
        ("epoch", str(latest.generation)),
        (f"{latest.metric}, training", f"{latest.train_loss[cell]:.6g}"),
        (f"{latest.metric}, validation", f"{latest.validation_loss[cell]:.6g}"),
        ("sparsity", f"{latest.sparsity[cell]:.2%}"),
        ("non-zero at last prune", f"{latest.capacity[cell]:.2%}"),
        ("learning rate", f"{latest.learning_rate[cell]:.3g}"),
        ("individual copied from", "itself" if latest.parents[cell] == cell else f"cell {latest.parents[cell]}"),
        ("ancestors' cells", " < ".join(map(str, ancestors(story, cell, 12)))),
    ]
    for name, value in rows:
        table.add_row(Text(name, "dim"), value)
    if story.layers is not None and cell < len(story.layers.sparsity):
        for name, share in zip(story.layers.layers, story.layers.sparsity[cell], strict=True):
            table.add_row(Text(name, "dim"), f"{draw.bar(share, 20)} {share:6.1%}")
    return table


def ancestors(story: Story, cell: int, most: int) -> list[int]:
    """Return the cells that the individual in ``cell`` was in, latest first, at most ``most``."""
    found = [cell]
    for generation in reversed(story.generations):
        parent = generation.parents[found[-1]]
        if parent != found[-1]:
            found.append(parent)
        if len(found) == most:
            break
    return found
