"""Curves of loss, sparsity and schedule over the run."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Container

from ..story import SUMMARIES, Story
from ..widgets import Chart, Line, loss_lines, sparsity_lines


class Curves(Container):
    """Three charts; a narrow terminal shows the chosen one."""

    CHARTS: ClassVar[tuple[str, ...]] = ("loss", "sparsity", "schedule")
    VIEWS: ClassVar[tuple[str, ...]] = (*SUMMARIES, "cell")
    view = "best"
    """The cells that the curves stand for."""
    chart = "loss"

    def compose(self) -> ComposeResult:
        for name in self.CHARTS:
            yield Chart(id=f"chart-{name}", classes="chart -active" if name == self.chart else "chart")

    def show(self, story: Story, cell: int) -> None:
        """Draw the charts that are seen; ``cell`` is the chosen one."""
        name = f"cell {cell}" if self.view == "cell" else self.view
        by_target = story.started is not None and story.started.setting("prune.drive") == "target"
        titles = {"loss": f"{story.metric}, {name}", "sparsity": "sparsity", "schedule": "schedule: target and actual"}
        lines = {
            "loss": loss_lines(self.view, cell),
            "sparsity": sparsity_lines(self.view, cell),
            "schedule": schedule_lines(by_target),
        }
        for chart in self.CHARTS:
            widget = self.query_one(f"#chart-{chart}", Chart)
            if widget.display:
                widget.draw(titles[chart], lines[chart], story.generations, log=chart == "loss")

    def next_view(self) -> None:
        """Choose the best, the mean, the worst or the chosen cell, in turn."""
        self.view = self.VIEWS[(self.VIEWS.index(self.view) + 1) % len(self.VIEWS)]

    def next_chart(self) -> None:
        """Choose the next chart for a narrow terminal."""
        self.chart = self.CHARTS[(self.CHARTS.index(self.chart) + 1) % len(self.CHARTS)]
        for name in self.CHARTS:
            self.query_one(f"#chart-{name}").set_class(name == self.chart, "-active")


def schedule_lines(by_target: bool) -> list[Line]:
    """Return the curves of the schedule's value and of the mean sparsity."""
    return [
        Line("target" if by_target else "probability", lambda g: g.target, "dot", "orange+"),
        Line("actual", lambda g: g.actual, "braille", "green+"),
    ]
