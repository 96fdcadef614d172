"""The tab of validation rows and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static
from textual_plotext import PlotextPlot

from aecompress.events import Preview

from .. import draw
from ..story import Story
from .base import Key, Pane

NAMES = ("input", "output", "error")


class Frame(VerticalScroll):
    """Reports when its size changes, because what is drawn in it depends on that."""

    class Resized(Message):
        """There are more or fewer lines or columns."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())


class PicturesPane(Pane):
    """Rows as pictures, or as curves where they are not image-shaped."""

    KEYS = (Key("b", "shades", "Blocks/shades"),)
    FOCUS = "#previews"
    shades = False
    """Draw shades of characters instead of half blocks in colour."""

    def compose(self) -> ComposeResult:
        with Frame(id="previews"):
            yield Pictures(id="blocks")
            yield Vertical(id="rows")

    def show(self, story: Story, status: str) -> None:
        preview, shape = story.preview, story.started.row_shape if story.started else ()
        images = preview is None or draw.image_shape(shape) is not None
        pictures, rows = self.query_one(Pictures), self.query_one("#rows")
        pictures.display, rows.display = images, not images
        if images:
            few_colours = self.app.console.color_system in (None, "standard")
            coloured = not (few_colours or self.shades)
            pictures.show(preview, shape, story.metric, coloured, self.query_one(Frame).size)
        elif preview is not None:
            rows.mount_all(Rows() for _ in range(len(self.query(Rows)), len(preview.rows)))
            for number, widget in enumerate(self.query(Rows)):
                widget.display = number < len(preview.rows)  # a restarted run may show fewer
                if widget.display:
                    widget.draw(preview, number, shape, story.metric)

    @on(Frame.Resized)
    def fit(self) -> None:
        """Draw again in the new size."""
        self.post_message(self.Changed())

    def action_shades(self) -> None:
        self.shades = not self.shades
        self.post_message(self.Changed())


class Pictures(Static):
    """Image-shaped rows, their reconstructions and the difference, with the error of each."""

    def show(self, preview: Preview | None, row_shape: Sequence[int], metric: str, coloured: bool, space: Size) -> None:
        """Draw every row as large as ``space``, in characters, allows."""
        if preview is None:
            self.update(Text("No preview yet: a run writes about twenty, evenly over its length.", "dim"))
            return
        shape = draw.image_shape(row_shape) or (1, 1)
        times, smaller = draw.fitting(shape, len(preview.rows), space.width - 2, space.height)
        width = -(-shape[1] // smaller) * times
        title = f"validation rows, cell {preview.cell}, epoch {preview.generation}"
        text = Text(title + (f", drawn at 1/{smaller}" if smaller > 1 else "") + "\n\n", "dim", no_wrap=True)
        names = Text("".join(name[:width].ljust(width + draw.GAP) for name in NAMES), "dim")
        blocks = []
        for number, triple in enumerate(triples(preview, row_shape)):
            drawn = [
                draw.picture(draw.enlarged(draw.shrunk(lines, smaller), times), low, high, coloured)
                for lines, low, high in triple
            ]
            head = Text(f"row {number}  {metric} {draw.short(preview.errors[number])}", "bold")
            blocks.append([head, names, *draw.beside(drawn).split("\n")])
        per_line = max(1, (space.width + draw.BLOCK_GAP) // (3 * (width + draw.GAP) + draw.BLOCK_GAP))
        for start in range(0, len(blocks), per_line):
            text.append_text(draw.beside(blocks[start : start + per_line], draw.BLOCK_GAP))
            text.append("\n\n")
        self.update(text)


Scaled = tuple[list[list[float]], float, float]
"""Lines of a picture, and the values that are drawn black and white."""


def triples(preview: Preview, row_shape: Sequence[int]) -> list[tuple[Scaled, Scaled, Scaled]]:
    """Return input, output and absolute error of every row, on one scale over all rows."""
    values = [v for row in preview.rows for v in row]
    low, high = min(values), max(values)
    found = []
    for row, output in zip(preview.rows, preview.reconstructions, strict=True):
        error = tuple(abs(a - b) for a, b in zip(row, output, strict=True))
        found.append(
            (
                (draw.image(row, row_shape), low, high),
                (draw.image(output, row_shape), low, high),
                (draw.image(error, row_shape), 0.0, high - low),
            )
        )
    return found


class Rows(PlotextPlot):
    """One row and its reconstruction as curves over the inputs, of a series column after column."""

    def draw(self, preview: Preview, number: int, row_shape: Sequence[int], metric: str) -> None:
        """Draw row ``number`` of the preview."""
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        error = draw.short(preview.errors[number])
        plot.title(f"row {number}: {metric} {error} (cell {preview.cell}, epoch {preview.generation})")
        curves = (("input", "dot", "cyan+", preview.rows), ("output", "braille", "orange+", preview.reconstructions))
        for label, marker, colour, rows in curves:
            row = draw.by_column(rows[number], row_shape)
            if shown := draw.drawable(range(len(row)), row):
                plot.plot(*map(list, zip(*shown, strict=True)), label=label, marker=marker, color=colour)
        self.refresh()
