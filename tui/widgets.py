"""What several panes and dialogs share: charts of curves over the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual_plotext import PlotextPlot

from aecompress.events import Generation

from . import draw
from .story import SUMMARIES, series

CHART_POINTS = 400
"""Generations that a curve takes at most; a terminal shows no more."""


@dataclass(frozen=True)
class Line:
    """One curve: its name, the value of a generation, and the character it is drawn with."""

    name: str
    value: Callable[[Generation], float]
    marker: str
    colour: str


class Chart(PlotextPlot):
    """Curves over epochs."""

    def draw(self, title: str, lines: Sequence[Line], generations: Sequence[Generation], log: bool = False) -> None:
        """Draw the curves from scratch, with ``log`` on a logarithmic axis where all values are above 0."""
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
        drawn: list[float] = []
        for line, (xs, ys) in zip(lines, curves, strict=True):
            shown = draw.drawable(xs, [math.log10(y) for y in ys] if log else ys)
            if shown:
                places, heights = map(list, zip(*shown, strict=True))
                drawn += heights
                label = f"{line.name} {draw.short(ys[-1])}"
                plot.plot(places, heights, label=label, marker=line.marker, color=line.colour)
        if log and drawn:  # plotext's own logarithmic axis takes the logarithm once more at every repaint
            ticks = [min(drawn) + (max(drawn) - min(drawn)) * i / 4 for i in range(5)]
            plot.yticks(ticks, [draw.short(10**tick) for tick in ticks])
        self.refresh()


def loss_lines(summary: str, cell: int) -> list[Line]:
    """Return training and validation loss of the best, mean or worst, or of one cell."""
    of = _of(summary, cell)
    return [
        Line("train", lambda g: of(g.train_loss), "dot", "cyan+"),
        Line("validation", lambda g: of(g.validation_loss), "braille", "orange+"),
    ]


def sparsity_lines(summary: str, cell: int) -> list[Line]:
    """Return the sparsity of one cell, or of all."""
    if summary == "cell":
        return [Line(f"cell {cell}", lambda g: g.sparsity[cell], "braille", "green+")]
    return [
        Line("most", lambda g: max(g.sparsity), "dot", "cyan+"),
        Line("mean", lambda g: g.actual, "braille", "green+"),
        Line("least", lambda g: min(g.sparsity), "dot", "magenta+"),
    ]


def _of(summary: str, cell: int) -> Callable[[tuple[float, ...]], float]:
    return (lambda values: values[cell]) if summary == "cell" else SUMMARIES[summary]
