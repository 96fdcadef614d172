"""The losses and the sparsity of a run by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from aecompress import markup
from aecompress.api.pictures import ready, shown
from aecompress.events import Event, Generation, Started
from aecompress.markup import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a run."""

    epoch: int
    """From 1."""
    train_loss: float
    """The lowest of the run's models, on training rows."""
    validation_loss: float
    """The lowest on validation rows; on training rows where the run has no others."""
    sparsity: float
    """Mean over the models."""
    target: float
    """What the schedule gave: a sparsity, or a probability of pruning."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class History:
    """A run by epoch."""

    metric: str
    """Name of the losses; lower is better."""
    epochs: tuple[Epoch, ...]
    by_probability: bool = False
    """The schedule gives probabilities."""

    @property
    def rows(self) -> list[dict[str, float]]:
        """Return a table of the epochs, as ``pandas.DataFrame`` takes it."""
        return [asdict(epoch) for epoch in self.epochs]

    def __repr__(self) -> str:
        if not self.epochs:
            return "<History of no epochs>"
        last = self.epochs[-1]
        return (
            f"<History of {len(self.epochs)} epochs: validation {self.metric} {last.validation_loss:.5g}, "
            f"sparsity {last.sparsity:.1%} at the end>"
        )

    def _repr_html_(self) -> str:
        return markup.block(markup.side_by_side(charts(self.metric, self.epochs)))

    def plot(self) -> Figure:
        """Draw the losses and the sparsity by epoch; the figure is returned and not shown.

        Raises:
            SpecError: matplotlib is not installed.
        """
        ready("history.plot()")
        from aecompress.runs.figures import COLOURS, draw_losses, draw_schedule, panels

        figure, (above, below) = panels(2, 6)
        at = [each.epoch for each in self.epochs]
        training, validation = ([getattr(each, name) for each in self.epochs] for name in ("train_loss", VALIDATION))
        draw_losses(above, at, training, validation, self.metric)
        below.plot(at, [each.sparsity for each in self.epochs], color=COLOURS[0], label="sparsity")
        draw_schedule(below, at, [each.target for each in self.epochs], self.by_probability)
        return shown(figure)


VALIDATION = "validation_loss"


def history_of(log: Iterable[Event], metric: str = "loss") -> History:
    """Return the history of the events of a run.

    Args:
        metric: the name of the losses, where the run has no epochs that name it.
    """
    epochs, by_probability = [], False
    for event in log:
        if isinstance(event, Started):
            by_probability = event.setting("prune.drive") == "probability"
        if isinstance(event, Generation):
            metric = event.metric
            epochs.append(epoch_of(event))
    return History(metric=metric, epochs=tuple(epochs), by_probability=by_probability)


def epoch_of(event: Generation) -> Epoch:
    """Return one epoch as the history has it."""
    return Epoch(
        epoch=event.generation,
        train_loss=lowest(event.train_loss),
        validation_loss=lowest(event.validation_loss),
        sparsity=event.actual,
        target=event.target,
        seconds=event.seconds,
    )


def lowest(losses: Sequence[float]) -> float:
    """Return the lowest of some losses that is a number; where none is, not-a-number."""
    return min((loss for loss in losses if not math.isnan(loss)), default=math.nan)


def charts(metric: str, epochs: Sequence[Epoch], planned: int = 1) -> list[str]:
    """Return loss and sparsity by epoch as SVG.

    Args:
        planned: epochs that the axis across has at least.
    """
    along = markup.Scale(1, max([planned, *(each.epoch for each in epochs[-1:])]))

    def line(name: str, field: str, factor: float = 1) -> Line:
        return Line(name, [(each.epoch, factor * getattr(each, field)) for each in epochs])

    losses = [line("training", "train_loss"), line("validation", VALIDATION)]
    sparsity = [line("mean of the models, %", "sparsity", 100)]
    return [
        markup.chart(metric, "epoch", losses, log=True, along=along),
        markup.chart("sparsity", "epoch", sparsity, along=along, up=markup.Scale(0, 100)),
    ]
