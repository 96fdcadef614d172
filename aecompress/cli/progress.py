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
from aecompress.events import Compared, Event, Finished, Front, Generation, Profiled, Saved, Started, Verified
from aecompress.runs.lines import closing, describe, losses_of

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
            for decision in event.decisions if isinstance(event, Started) else ():
                say(decision)
            if isinstance(event, SUMMARY):
                kept.append(event)
    for line in closing(kept):
        say(line)
    return kept


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
