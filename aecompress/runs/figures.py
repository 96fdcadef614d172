"""The charts of a run that more than one place draws, with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from aecompress.errors import printable

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
"""Tol's bright scheme, which colour-blind readers can distinguish."""
WIDTH = 7.0
"""Of every figure, in inches."""
FORMATS = ("svg", "png")


def canvas(height: float) -> tuple[Any, Any]:
    """Return a figure of ``height`` inches with one chart."""
    figure, (chart,) = panels(1, height)
    return figure, chart


def panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure of ``height`` inches with charts under each other, which have the axis across in common."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    charts = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    for chart in charts:
        chart.grid(alpha=0.3)
        chart.spines[["top", "right"]].set_visible(False)
    return figure, charts


def log_axes(across: str, up: str) -> Any:
    """Return empty axes, both logarithmic."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(WIDTH, 4.5), layout="constrained").subplots()
    drawn.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    drawn.margins(0.2)
    drawn.grid(alpha=0.3, which="both")
    return drawn


def rendered(figure: Any, kind: str) -> bytes:
    """Return a figure as a file of ``kind``, the same bytes every time."""
    import matplotlib as mpl
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "aecompress", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def draw_losses(
    chart: Any, epochs: Sequence[float], training: Sequence[float], validation: Sequence[float], metric: str
) -> None:
    """Draw the lowest loss of each epoch on training and validation rows, ``[T]`` each."""
    chart.plot(epochs, training, color=COLOURS[0], label="training, best cell")
    chart.plot(epochs, validation, color=COLOURS[1], label="validation, best cell")
    chart.set(xlabel="epoch", ylabel=metric, yscale="log")
    chart.legend(frameon=False)


def draw_schedule(chart: Any, epochs: Sequence[float], target: Sequence[float], by_probability: bool) -> None:
    """Draw what the schedule gave in each epoch, ``[T]``, and name the axes of a chart of sparsity."""
    label = "pruning probability of the schedule" if by_probability else "target of the schedule, mean"
    chart.plot(epochs, target, "k--", label=label)
    chart.set(xlabel="epoch", ylabel="sparsity")
    chart.legend(frameon=False)


def front_chart(nonzeros: Sequence[float], losses: Sequence[float], knee: int, label: str) -> Any:
    """Return axes with a front, fewest non-zeros first, and a ring around its ``knee``-th model."""
    drawn = log_axes("non-zeros", label)
    drawn.plot(nonzeros, losses, marker="o")
    drawn.scatter(nonzeros[knee], losses[knee], s=120, facecolors="none", edgecolors="C3", label="knee")
    drawn.legend()
    return drawn
