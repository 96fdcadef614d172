"""The live view of a run in a notebook: epoch, time left, loss and sparsity, redrawn in place."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aecompress import markup
from aecompress.api.history import Epoch, charts, epoch_of
from aecompress.events import Event, Finished, Generation, Started
from aecompress.runs.lines import counted, facts_of, losses_of, sparsity_of

PAUSE = 0.5
"""Seconds between two drawings at least: a browser need not follow a run of a thousand epochs a second."""

FIT = "Autoencoder"
"""The title of a fit, which has no folder."""
Draw = Callable[[str], None]
"""Puts HTML in the place of what was there."""


def progress_view(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of a run, and show them in the notebook that this is called in; elsewhere show nothing.

    Closing it closes ``events``, where that is a generator.
    """
    draw = notebook()
    try:
        if draw is None:
            yield from events
        else:
            yield from drawn(events, draw, time.monotonic)
    finally:
        if callable(close := getattr(events, "close", None)):
            close()


def notebook() -> Draw | None:
    """Return what draws in the cell that is running; None where there is no notebook. It never imports IPython."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    if not hasattr(shell, "kernel"):  # a terminal's shell has none
        return None
    display = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)
    return lambda text: handle.update(display.HTML(text))


def drawn(events: Iterable[Event], draw: Draw, clock: Callable[[], float]) -> Iterator[Event]:
    """Yield events and draw them: the start, epochs every :data:`PAUSE` seconds at most, the last one, and the end."""
    seen, due = Seen(), 0.0
    try:
        for event in events:
            seen.add(event)
            if is_first_or_last(event, seen) or (isinstance(event, Generation) and clock() >= due):
                draw(page(seen))
                due = clock() + PAUSE
            yield event
    except BaseException:
        seen.broken = True
        raise
    finally:
        if seen.finished is None:
            seen.over = True
            draw(page(seen))


@dataclass
class Seen:
    """What is shown of a run: its events so far."""

    started: Started | None = None
    last: Generation | None = None
    epochs: list[Epoch] = field(default_factory=list)
    finished: Finished | None = None
    broken: bool = False
    """The run was stopped or has failed."""
    over: bool = False
    """There are no more events."""

    def add(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Started):
            self.started = event
        elif isinstance(event, Generation):
            self.last = event
            self.epochs.append(epoch_of(event))
        elif isinstance(event, Finished):
            self.finished = event


def is_first_or_last(event: Event, seen: Seen) -> bool:
    """Return whether an event begins the run, ends its epochs, or ends it."""
    if isinstance(event, Generation):
        return seen.started is not None and event.generation == seen.started.generations
    return isinstance(event, Started | Finished)


def page(seen: Seen) -> str:
    """Return the run so far as HTML."""
    start, last = seen.started, seen.last
    if start is None:
        return ""
    parts = [markup.headline(start.run or FIT, state(seen))]
    if seen.finished is None and not seen.over:
        parts.append(markup.bar(len(seen.epochs) / max(start.generations, 1)))
    if last is None:
        parts.append(markup.facts(facts_of(start)))
    else:
        parts += [
            markup.note(losses_of(last)),
            markup.side_by_side(charts(last.metric, few(seen.epochs), start.generations)),
        ]
    return markup.block(*parts)


def few(epochs: Sequence[Epoch]) -> Sequence[Epoch]:
    """Return as many epochs as a chart can show, the last among them: a view of a long run is drawn as fast."""
    return [*epochs[: -1 : max(1, len(epochs) // markup.MOST_POINTS)], *epochs[-1:]]


def state(seen: Seen) -> str:
    """Return in words how far a run is."""
    done = len(seen.epochs)
    if seen.finished is not None:
        return f"finished in {span(seen.finished.seconds)}, sparsity {sparsity_of(seen.finished)}"
    whole = seen.started.generations if seen.started is not None else 0
    if seen.broken:
        return f"ended after epoch {done} of {whole}"
    if done == whole:
        return f"{counted(done, 'epoch')} done" + ("" if seen.over else "; the model is chosen and checked")
    left = sum(epoch.seconds for epoch in seen.epochs) / max(done, 1) * (whole - done)
    return f"epoch {done} of {whole}" + (f", {span(left)} left" if done else "")


def span(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
