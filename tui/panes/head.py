"""The line above the tabs: run, status, epoch, pace, time left."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from .. import draw
from ..story import Story


class Head(Static):
    """One line: run, status, epoch, pace, time left."""

    def show(self, name: str, status: str, story: Story, now: float | None) -> None:
        """Draw the line; parts that do not fit are left out."""
        latest, total = story.latest, story.total
        done = latest.generation if latest else 0
        share = done / total if total else 0.0
        pace = story.pace
        parts = [f"epoch {done}/{total or '?'}", f"{draw.bar(share, 10)} {share:.0%}"]
        if status in ("running", "paused") and pace:
            parts.append(f"{draw.span((total - done) / pace)} left")
        parts.append(f"{draw.span(story.elapsed(now))} elapsed")
        if pace:
            parts.append(f"{pace:.3g} epochs/s")
        text = Text(name, "bold", no_wrap=True)
        text.append("  ").append(f" {status} ", "reverse")
        for part in parts:
            if text.cell_len + 2 + len(part) <= self.size.width:
                text.append("  " + part)
        self.update(text, layout=False)
