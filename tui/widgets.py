"""The parts of the run's screens. Each has reactive values or a ``show`` method, and draws only what it was given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import RichLog, Static
from textual_plotext import PlotextPlot

from aecompress.events import Event, Generation, LayerSparsity, Preview

from . import draw
from .story import SUMMARIES, Story, describe, series

CHART_POINTS = 400
"""Generations that a curve takes at most; a terminal shows no more."""


class Head(Static):
    """One line: run, status, generation, pace, time left."""

    def show(self, name: str, status: str, story: Story, now: float | None) -> None:
        latest, total = story.latest, story.total
        done = latest.generation if latest else 0
        share = done / total if total else 0.0
        pace = story.pace
        left = (total - done) / pace if pace else float("nan")
        parts = [f"generation {done}/{total or '?'}", f"{draw.bar(share, 10)} {share:.0%}"]
        if status in ("running", "paused") and pace:
            parts.append(f"{draw.span(left)} left")
        parts.append(f"{draw.span(story.elapsed(now))} elapsed")
        if pace:
            parts.append(f"{pace:.3g} gen/s")
        text = Text(name, "bold", no_wrap=True)
        text.append("  ").append(f" {status} ", "reverse")
        for part in parts:
            if text.cell_len + 2 + len(part) <= self.size.width:  # what does not fit whole is left out
                text.append("  " + part)
        self.update(text, layout=False)


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
    """Until the user chooses a cell, the best one is chosen."""

    @dataclass
    class Opened(Message):
        """The user wants a cell's detail."""

        cell: int

    @dataclass
    class Chosen(Message):
        """Another cell is chosen."""

        cell: int

    def render(self) -> RenderResult:
        held = self.generation
        if held is None:
            return Text("no generation yet", "dim")
        values = held.validation_loss if self.colour == "loss" else held.sparsity
        labels = [draw.short(v) if self.colour == "loss" else f"{v:.1%}" for v in values]
        title = f"{held.metric}" if self.colour == "loss" else "zeros"
        text = Text(f"by {title}; * best, <> copied from\n", "dim", no_wrap=True)
        return text.append_text(draw.ring(values, labels, held.parents, self.cell, self.best, max(self.size.width, 16)))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return 1 + 2 * draw.ring_rows(self.count, width) if self.count else 1

    def watch_generation(self) -> None:
        self.count = len(self.generation.validation_loss) if self.generation else 0

    def watch_cell(self) -> None:
        if self.count:  # of a ring too large for its place, the chosen cell is shown
            y = 1 + 2 * draw.row_of(self.cell, self.count, self.size.width)
            self.screen.query_one("#around").scroll_to_region(Region(0, y, 1, 2), animate=False, force=True)
        self.post_message(self.Chosen(self.cell))

    def action_move(self, by: int) -> None:
        if self.generation:
            self.touched = True
            self.cell = (self.cell + by) % len(self.generation.validation_loss)

    def action_open(self) -> None:
        if self.generation:
            self.post_message(self.Opened(self.cell))

    def on_click(self, event: events.Click) -> None:
        if self.generation is None:
            return
        cell = draw.cell_at(event.x, event.y - 1, len(self.generation.validation_loss), self.size.width)
        if cell is None:
            return
        self.touched = True
        if cell == self.cell:
            self.action_open()
        self.cell = cell


class Layers(Static):
    """Sparsity of every layer of encoder and decoder as bars."""

    count = 0
    """Layers drawn; only another number of them takes another height."""

    def show(self, layers: LayerSparsity | None, cell: int) -> None:
        if layers is None:
            self.update(Text("no layers yet", "dim"))
            return
        values = layers.sparsity[min(cell, len(layers.sparsity) - 1)]
        width = max(self.size.width - 20, 5)
        text = Text(f"zeros by layer, cell {cell}", "dim", no_wrap=True)
        for name, value in zip(layers.layers, values, strict=True):
            text.append(f"\n{name:<11.11} ")
            text.append(draw.bar(value, width), "cyan" if name.startswith("encoder") else "magenta")
            text.append(f" {value:6.1%}")
        self.update(text, layout=len(values) != self.count)
        self.count = len(values)


@dataclass(frozen=True)
class Line:
    """One curve: its name, the value of a generation, and the character it is drawn with."""

    name: str
    value: Callable[[Generation], float]
    marker: str
    colour: str


class Chart(PlotextPlot):
    """Curves over generations."""

    def draw(self, title: str, lines: Sequence[Line], generations: Sequence[Generation], log: bool = False) -> None:
        """Draw again from the beginning; losses are drawn on a logarithmic axis where all are above 0."""
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        plot.title(title)
        points = max(2, min(CHART_POINTS, max(self.size.width, 20)))
        if generations:
            first, last = generations[0].generation, generations[-1].generation
            parts = max(1, min(4, self.size.width // 14, last - first))
            plot.xticks([first + (last - first) * i // parts for i in range(parts + 1)])
        curves = [series(generations, line.value, points) for line in lines]
        log = log and all(y > 0 for _, ys in curves for y in ys)
        seen: list[float] = []
        for line, (xs, ys) in zip(lines, curves, strict=True):
            pairs = [(x, math.log10(y) if log else y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
            if pairs:
                places, heights = map(list, zip(*pairs, strict=True))
                seen += heights
                label = f"{line.name} {draw.short(ys[-1])}"
                plot.plot(places, heights, label=label, marker=line.marker, color=line.colour)
        if log and seen:  # plotext's own logarithmic axis takes the logarithm once more at every repaint
            ticks = [min(seen) + (max(seen) - min(seen)) * i / 4 for i in range(5)]
            plot.yticks(ticks, [draw.short(10**tick) for tick in ticks])
        self.refresh()


def loss_lines(summary: str, cell: int) -> list[Line]:
    """Training and validation loss of the best, mean or worst, or of one cell."""
    of = _of(summary, cell)
    return [
        Line("train", lambda g: of(g.train_loss), "dot", "cyan+"),
        Line("validation", lambda g: of(g.validation_loss), "braille", "orange+"),
    ]


def sparsity_lines(summary: str, cell: int) -> list[Line]:
    """Sparsity of one cell, or of all."""
    if summary == "cell":
        return [Line(f"cell {cell}", lambda g: g.sparsity[cell], "braille", "green+")]
    return [
        Line("most", lambda g: max(g.sparsity), "dot", "cyan+"),
        Line("mean", lambda g: g.actual, "braille", "green+"),
        Line("least", lambda g: min(g.sparsity), "dot", "magenta+"),
    ]


def schedule_lines(by_target: bool) -> list[Line]:
    """What the schedule asks for, and the mean sparsity that came of it."""
    return [
        Line("asked" if by_target else "probability", lambda g: g.target, "dot", "orange+"),
        Line("reached", lambda g: g.actual, "braille", "green+"),
    ]


def _of(summary: str, cell: int) -> Callable[[tuple[float, ...]], float]:
    return (lambda values: values[cell]) if summary == "cell" else SUMMARIES[summary]


class Told(RichLog):
    """The events, newest at the bottom."""

    def __init__(self) -> None:
        super().__init__(max_lines=1000, wrap=False, id="told")
        self.count = 0

    def show(self, story: Story, clock: Callable[[float], str]) -> None:
        """Append what is new."""
        fresh = min(story.count - self.count, len(story.told))
        self.count = story.count
        if fresh > 0:
            for event in list(story.told)[-fresh:]:
                self.write(line_of(event, clock))


def line_of(event: Event, clock: Callable[[float], str]) -> Text:
    """An event with its time of day."""
    text = Text(clock(event.at), "dim", no_wrap=True)
    return text.append(" " + describe(event), "bold" if event.kind in ("failed", "stopped", "finished") else "")


class Frame(VerticalScroll):
    """Tells when its size changes, because what is drawn in it depends on that."""

    class Resized(Message):
        """There is more or less room."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())


class Pictures(Static):
    """Image-shaped rows, their reconstructions and the difference, with the error of each."""

    def show(self, preview: Preview | None, row_shape: Sequence[int], metric: str, coloured: bool, room: Size) -> None:
        if preview is None:
            self.update(Text("No preview yet: a run shows a few rows some twenty times over its length.", "dim"))
            return
        shape = draw.image_shape(row_shape) or (1, 1)
        times, smaller = draw.fitting(shape, len(preview.rows), room.width - 2, room.height)
        width = -(-shape[1] // smaller) * times
        values = [v for row in preview.rows for v in row]
        low, high = min(values), max(values)
        title = f"validation rows, cell {preview.cell}, generation {preview.generation}"
        text = Text(title + (f", drawn at 1/{smaller}" if smaller > 1 else "") + "\n\n", "dim", no_wrap=True)
        blocks = []
        for number, (row, out) in enumerate(zip(preview.rows, preview.reconstructions, strict=True)):
            gone = tuple(abs(a - b) for a, b in zip(row, out, strict=True))
            drawn = []
            for part, bounds in ((row, (low, high)), (out, (low, high)), (gone, (0.0, high - low))):
                lines = draw.enlarged(draw.shrunk(draw.image(part, row_shape), smaller), times)
                drawn.append(draw.picture(lines, *bounds, coloured))
            head = Text(f"row {number}  {metric} {draw.short(preview.errors[number])}", "bold")
            names = "".join(name[:width].ljust(width + draw.GAP) for name in NAMES)
            blocks.append([head, Text(names, "dim"), *draw.beside(drawn).split("\n")])
        per_line = max(1, (room.width + draw.BLOCK_GAP) // (3 * (width + draw.GAP) + draw.BLOCK_GAP))
        for start in range(0, len(blocks), per_line):
            text.append_text(draw.beside(blocks[start : start + per_line], draw.BLOCK_GAP))
            text.append("\n\n")
        self.update(text)


NAMES = ("input", "output", "error")


class Rows(PlotextPlot):
    """One row and its reconstruction as curves over the inputs."""

    def draw(self, preview: Preview, number: int, metric: str) -> None:
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        places = list(range(len(preview.rows[number])))
        error = draw.short(preview.errors[number])
        plot.title(f"row {number}: {metric} {error} (cell {preview.cell}, generation {preview.generation})")
        plot.plot(places, list(preview.rows[number]), label="input", marker="dot", color="cyan+")
        plot.plot(places, list(preview.reconstructions[number]), label="output", marker="braille", color="orange+")
        self.refresh()


class Scatter(PlotextPlot):
    """Loss against non-zeros (or, before the end, sparsity), one point chosen."""

    def draw(
        self, title: str, xs: Sequence[float], ys: Sequence[float], chosen: int, labels: tuple[str, str], joined: bool
    ) -> None:
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        plot.title(title)
        plot.xlabel(labels[0])
        if xs:
            low, high = min(xs), max(xs)
            plot.xticks(sorted({round(low + (high - low) * i / 3) for i in range(4)}))
        plot.ylabel(labels[1])
        kept = [(x, y) for x, y in zip(xs, ys, strict=True) if y == y and abs(y) != float("inf")]
        if kept:
            if joined and len(kept) > 1:
                plot.plot(*map(list, zip(*kept, strict=True)), marker="braille", color="gray+")
            plot.scatter(*map(list, zip(*kept, strict=True)), marker="o", color="cyan+")
        if 0 <= chosen < len(xs) and ys[chosen] == ys[chosen]:
            plot.scatter([xs[chosen]], [ys[chosen]], marker="X", color="orange+")
        self.refresh()
