"""The tab of the front: models that no other beats in both loss and non-zeros."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Static
from textual_plotext import PlotextPlot

from aecompress.events import Front

from .. import draw
from ..story import Story
from .base import Pane


class FrontPane(Pane):
    """The front as points and as a table; before the last epoch, the cells as points."""

    FOCUS = "#models"
    listed: Front | None = None
    """The front that the table lists."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Scatter(id="scatter")
            with Vertical(id="listing"):
                yield DataTable(id="models", cursor_type="row", zebra_stripes=True)
                yield Static(id="model")

    def on_mount(self) -> None:
        self.query_one(DataTable).add_columns("cell", "non-zeros", "loss")

    def show(self, story: Story, status: str) -> None:
        front, table = story.front, self.query_one(DataTable)
        if front is not self.listed:
            self.listed = front
            table.clear()
            if front is not None:
                for cell, loss, count in zip(front.cells, front.losses, front.nonzeros, strict=True):
                    table.add_row("interp." if cell < 0 else str(cell), f"{count:,}", f"{loss:.6g}")
        if front is None:
            self.show_cells(story)
        elif front.cells:
            self.show_front(story, front, min(max(table.cursor_row, 0), len(front.cells) - 1))

    def show_cells(self, story: Story) -> None:
        """Draw the cells of the last generation."""
        latest = story.latest
        title = f"cells after epoch {latest.generation}; the front comes at the end" if latest else "no epoch yet"
        sparsity = [100 * share for share in latest.sparsity] if latest else []
        losses = latest.validation_loss if latest else ()
        self.query_one(Scatter).draw(title, sparsity, losses, ("sparsity, %", story.metric))
        self.query_one("#model", Static).update("The front comes with the last epoch.")

    def show_front(self, story: Story, front: Front, row: int) -> None:
        """Draw the front with the figures of one model of it."""
        count = len(front.cells)
        title = f"front: {count} model{'s' * (count != 1)}"
        labels = ("non-zeros", f"validation {story.metric}")
        self.query_one(Scatter).draw(title, front.nonzeros, front.losses, labels, chosen=row, connected=True)
        self.query_one("#model", Static).update(Text("\n".join(figures(story, front, row))))

    @on(DataTable.RowHighlighted)
    def choose(self) -> None:
        """Draw the figures of another model."""
        self.post_message(self.Changed())


def figures(story: Story, front: Front, row: int) -> list[str]:
    """Return the lines on one model of the front."""
    total = story.started.parameters if story.started else 0
    cell, nonzeros = front.cells[row], front.nonzeros[row]
    lines = ["interpolated between two cells" if cell < 0 else f"cell {cell}", f"{nonzeros:,} of {total:,} non-zero"]
    if total:
        lines.append(f"sparsity {1 - nonzeros / total:.2%}")
    return [*lines, f"validation {story.metric} {front.losses[row]:.6g}"]


class Scatter(PlotextPlot):
    """Loss against non-zeros or sparsity."""

    def draw(
        self,
        title: str,
        xs: Sequence[float],
        ys: Sequence[float],
        labels: tuple[str, str],
        *,
        chosen: int = -1,
        connected: bool = False,
    ) -> None:
        """Draw the points, one of them marked as chosen, and the line that connects them."""
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        plot.title(title)
        plot.xlabel(labels[0])
        points = draw.drawable(xs, ys)
        if points:
            low, high = min(x for x, _ in points), max(x for x, _ in points)
            plot.xticks(sorted({round(low + (high - low) * i / 3) for i in range(4)}))
        plot.ylabel(labels[1])
        if points:
            if connected and len(points) > 1:
                plot.plot(*map(list, zip(*points, strict=True)), marker="braille", color="gray+")
            plot.scatter(*map(list, zip(*points, strict=True)), marker="o", color="cyan+")
        if 0 <= chosen < len(xs) and (xs[chosen], ys[chosen]) in points:
            plot.scatter([xs[chosen]], [ys[chosen]], marker="X", color="orange+")
        self.refresh()
