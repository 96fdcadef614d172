"""A run's events as progress on stderr: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
"""Cells that are farther apart in their share of zeros have budgets of their own."""
PLAIN_LINES = 20
"""Lines a run writes where there is no terminal."""


def show(run: Iterable[Event], total: int, quiet: bool) -> list[Event]:
    """Follow a run of ``total`` generations to its end on stderr.

    Returns:
        The events that a summary needs: started, front, verified, saved, compared, profiled, finished.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False)
    kept: list[Event] = []
    with _bar(console) as advance:
        for event in run:
            if isinstance(event, Started):
                console.print(
                    f"{event.run}: {event.parameters:,} parameters in {event.cells} cell(s), "
                    f"{event.rows['train']:,} training rows, "
                    f"{event.generations} generations on {event.device}, training {event.engine}"
                )
            if isinstance(event, Resumed):
                console.print(f"resumed after generation {event.generation}. {event.note}".rstrip())
            if isinstance(event, Paused):
                word = "paused" if event.waiting else "going on"
                console.print(f"{word} after generation {event.generation}, as control says")
            if isinstance(event, Generation):
                advance(event, total)
            if isinstance(event, Front | Started | Verified | Saved | Compared | Profiled | Finished):
                kept.append(event)
    for line in closing(kept):
        console.print(line, soft_wrap=True)
    return kept


def closing(kept: list[Event]) -> Iterator[str]:
    """What was proved and measured; the files themselves are the command's output on stdout."""
    asked = 0.0
    for event in kept:
        if isinstance(event, Verified):
            yield (
                f"verified in onnxruntime: {event.checks} checks passed, largest difference {event.max_difference:.1e}"
            )
        if isinstance(event, Front) and len(event.cells) > 2:
            yield (
                f"front: {len(event.cells)} pairs of {event.nonzeros[0]:,} to {event.nonzeros[-1]:,} non-zeros; "
                "`aecompress front` lists them, `aecompress export --pick` hands over any of them"
            )
        if isinstance(event, Started):
            asked = float(event.spec["prune"]["target_sparsity"])
        if isinstance(event, Finished):
            if asked and abs(event.sparsity - asked) > 1 / event.parameters:
                yield f"asked for {asked:.2%} zeros; what is handed over has {event.sparsity:.2%}"
            losses = ", ".join(f"{name} {value:.5f}" for name, value in event.metrics.items())
            yield (
                f"{event.zeros:,} of {event.parameters:,} weights and biases are zero ({event.sparsity:.2%}); "
                f"{losses}; {event.seconds:.1f} s"
            )


def before_and_after(event: Compared) -> str:
    """The table of what the files take, in columns."""
    return columns(event.words())


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of words as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


@contextmanager
def _bar(console: Console):  # type: ignore[no-untyped-def]
    if console.is_terminal and not console.quiet:
        columns = (
            TextColumn("generation"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("")

            def live(event: Event, total: int) -> None:
                if isinstance(event, Generation):
                    progress.update(task, completed=event.generation, total=total, description=describe(event))

            yield live
    else:

        def plain(event: Event, total: int) -> None:
            if isinstance(event, Generation) and (
                event.generation % max(1, total // PLAIN_LINES) == 0 or event.generation == total
            ):
                console.print(f"generation {event.generation}/{total}  {describe(event)}")

        yield plain


def describe(event: Generation) -> str:
    """A generation in one line; of cells with budgets of their own the densest and the sparsest."""
    ends = min(event.sparsity), max(event.sparsity)
    if ends[1] - ends[0] > APART:
        dense, sparse = (event.validation_loss[event.sparsity.index(end)] for end in ends)
        return (
            f"validation {event.metric} {dense:.5f} at {ends[0]:.1%} zeros to {sparse:.5f} at {ends[1]:.1%}; "
            f"{len(event.sparsity)} cells"
        )
    best = min(event.validation_loss)
    return f"{event.metric} {min(event.train_loss):.5f} train, {best:.5f} validation; {event.actual:.1%} zeros"
