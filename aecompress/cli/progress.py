"""A run's events as progress on stderr: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
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
from aecompress.printable import in_cell

APART = 0.2
"""Models that differ more in their sparsity have budgets of their own."""
LEAST_LOOKED_FOR = ("non-zeros", "smaller", "ms, 64", "ms, ")
"""Beginnings of the columns of the before/after table that a narrow terminal goes without."""
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


def write(console: Console, line: str) -> None:
    """Print a sentence: broken between words on a terminal, one line in a pipe."""
    console.print(printable(line), markup=False, soft_wrap=not console.is_terminal)


def describe(event: Event) -> str:
    """Return the line of an event that is printed at once; empty of others."""
    if isinstance(event, Started):
        return (
            f"{event.run}: {models(event.cells)} of {event.parameters:,} parameters, "
            f"{event.rows['train']:,} training rows, {event.generations} epochs on {event.device}, "
            f"training {event.engine}"
        )
    if isinstance(event, Resumed):
        return f"resumed after epoch {event.generation}. {event.note}".rstrip()
    if isinstance(event, Paused):
        return f"{'paused' if event.waiting else 'resumed'} by control after epoch {event.generation}"
    return ""


def models(count: int) -> str:
    """Return a number of models in words."""
    return "1 model" if count == 1 else f"{count} models"


def closing(kept: list[Event]) -> Iterator[str]:
    """Yield what was verified and evaluated; the files themselves are the command's output on stdout."""
    target = 0.0
    for event in kept:
        if isinstance(event, Verified):
            yield (
                f"verified in onnxruntime: {event.checks} checks passed, largest difference {event.max_difference:.1e}"
            )
        if isinstance(event, Front) and len(event.cells) > 2:
            yield (
                f"front: {models(len(event.cells))} with {event.nonzeros[0]:,} to {event.nonzeros[-1]:,} non-zeros; "
                "`aecompress front` lists them, `aecompress export --pick` exports any of them"
            )
        if isinstance(event, Started):
            wanted = event.setting("prune.target_sparsity")
            target = wanted if isinstance(wanted, float) else 0.0
        if isinstance(event, Finished):
            if target and abs(event.sparsity - target) > 1 / event.parameters:
                yield f"target sparsity {target:.2%}; the exported model has {event.sparsity:.2%}"
            losses = ", ".join(f"{name} {value:.5f}" for name, value in event.metrics.items())
            yield (
                f"sparsity {event.sparsity:.2%}: {event.zeros:,} of {event.parameters:,} weights and biases are zero; "
                f"{losses}; {event.seconds:.1f} s"
            )


def before_and_after(event: Compared, width: int | None = None) -> str:
    """Return the before/after table in columns; where it is wider than ``width``, without those least looked for."""
    head, *rows = event.table()
    kept, left_out = list(range(len(head))), list[str]()
    for name in (name for start in LEAST_LOOKED_FOR for name in head if name.startswith(start)):
        if width is None or len(columns([head, *rows], kept).partition("\n")[0]) <= width:
            break
        kept.remove(head.index(name))
        left_out.append(name)
    note = f"\n({'; '.join(left_out)}: in the model's README.md)" if left_out else ""
    return columns([head, *rows], kept) + note


def columns(rows: Sequence[tuple[str, ...]], kept: Sequence[int] | None = None) -> str:
    """Return rows of words as lines, of all columns or those ``kept``: the first to the left, others to the right."""
    rows = [tuple(in_cell(row[place]) for place in (range(len(row)) if kept is None else kept)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[Generation], None]]:
    """Give a function that shows each generation: in a live bar on a terminal, in some lines otherwise."""
    if console.is_terminal and not console.quiet:
        shown = (
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
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
        return (
            f"{models(len(event.sparsity))}, validation {event.metric} {dense:.5f} at {ends[0]:.1%} sparsity "
            f"to {sparse:.5f} at {ends[1]:.1%}"
        )
    losses = f"{min(event.train_loss):.5f} train, {min(event.validation_loss):.5f} validation"
    return f"{event.metric} {losses}; sparsity {event.actual:.1%}"
