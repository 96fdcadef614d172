"""A run's events as progress on stderr: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from aecompress.cli.exits import prose
from aecompress.errors import printable
from aecompress.events import (
    Compared,
    Event,
    Finished,
    Front,
    Generation,
    Paused,
    Profiled,
    Resumed,
    Saved,
    Started,
    Verified,
)

APART = 0.2
"""Models that differ more in their sparsity have budgets of their own."""
NARROW = 100
"""Columns of a terminal below which there is no bar beside the figures."""
PLAIN_LINES = 20
"""Lines that a run prints where there is no terminal."""
SUMMARY = (Front, Started, Verified, Saved, Compared, Profiled, Finished)


def show(run: Iterable[Event], total: int, quiet: bool) -> list[Event]:
    """Follow a run of ``total`` generations to its end on stderr.

    Returns:
        The events that a summary needs, :data:`SUMMARY`.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False)
    kept: list[Event] = []

    def say(line: str) -> None:
        console.print(Text(prose(line)), soft_wrap=True)  # above the bar, where there is one

    with _bar(console, total) as advance:
        for event in run:
            if isinstance(event, Generation):
                advance(event)
            elif line := describe(event):
                say(line)
            if isinstance(event, SUMMARY):
                kept.append(event)
    for line in closing(kept):
        say(line)
    return kept


def describe(event: Event) -> str:
    """Return the line of an event that is printed at once; empty of others."""
    if isinstance(event, Started):
        return (
            f"{event.run}: {counted(event.cells, 'model')} of {event.parameters:,} parameters, "
            f"{event.rows['train']:,} training rows, {counted(event.generations, 'epoch')} on {event.device}, "
            f"{event.training}"
        )
    if isinstance(event, Resumed):
        return f"resumed after epoch {event.generation}. {event.note}".rstrip()
    if isinstance(event, Paused):
        return f"{'paused' if event.waiting else 'resumed'} by control after epoch {event.generation}"
    return ""


def counted(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count} {noun}{'s' * (count != 1)}"


def closing(kept: list[Event]) -> Iterator[str]:
    """Yield what was verified and evaluated; the files themselves are the command's output on stdout."""
    target = 0.0
    for event in kept:
        if isinstance(event, Verified):
            yield (
                f"verified in onnxruntime: {event.checks} checks passed, largest difference {event.max_difference:.1e}"
            )
        if isinstance(event, Front) and len(event.cells) > 2:
            count = counted(len(event.cells), "model")
            yield f"front: {count} with {event.nonzeros[0]:,} to {event.nonzeros[-1]:,} non-zeros"
        if isinstance(event, Started):
            wanted = event.setting("prune.target_sparsity")
            target = wanted if isinstance(wanted, float) else 0.0
        if isinstance(event, Finished):
            if target and abs(event.sparsity - target) > 1 / event.parameters:
                yield f"target sparsity {target:.2%}; the exported model has {event.sparsity:.2%}"
            yield (
                f"sparsity {event.sparsity:.2%}: {event.zeros:,} of {event.parameters:,} weights and biases are zero; "
                f"{event.seconds:.1f} s"
            )
            yield from by_metric(event)


def by_metric(event: Finished) -> Iterator[str]:
    """Yield a line for each metric of the exported model, with its value on every split; ``--json`` has the others."""
    names = dict.fromkeys(name for metrics in event.by_split.values() for name in metrics)
    for name in names:
        values = [f"{split} {metrics[name]:.5f}" for split, metrics in event.by_split.items() if name in metrics]
        yield f"{name.replace('_', ' ')}: {', '.join(values)}"


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[Generation], None]]:
    """Give a function that shows each generation: in a live bar on a terminal, in some lines otherwise."""
    if console.is_terminal and not console.quiet:
        whole = Column(no_wrap=True)
        shown = (
            TextColumn("epoch"),
            MofNCompleteColumn(table_column=whole),
            *(() if console.width < NARROW else (BarColumn(),)),
            TimeRemainingColumn(compact=True, table_column=whole),
            TextColumn("{task.description}", markup=False, table_column=Column()),
        )
        with Progress(*shown, console=console, transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda event: progress.update(
                task, completed=event.generation, description=printable(losses_of(event))
            )
    else:

        def plain(event: Generation) -> None:
            if event.generation % max(1, total // PLAIN_LINES) == 0 or event.generation == total:
                console.print(Text(printable(f"epoch {event.generation}/{total}  {losses_of(event)}")), soft_wrap=True)

        yield plain


def losses_of(event: Generation) -> str:
    """Return a generation in one line; of models with budgets of their own the densest and the sparsest."""
    ends = min(event.sparsity), max(event.sparsity)
    if ends[1] - ends[0] > APART:
        dense, sparse = (event.validation_loss[event.sparsity.index(end)] for end in ends)
        return f"validation {event.metric} {dense:.5f} at {ends[0]:.1%} to {sparse:.5f} at {ends[1]:.1%} sparsity"
    losses = f"{min(event.train_loss):.5f} train, {min(event.validation_loss):.5f} validation"
    return f"{event.metric} {losses}; sparsity {event.actual:.1%}"
