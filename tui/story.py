"""The state that every view draws from: what a run's events add up to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from statistics import fmean
from typing import overload

from aecompress.errors import DataError
from aecompress.events import (
    Compared,
    Event,
    Failed,
    Finished,
    Front,
    Generation,
    LayerSparsity,
    Paused,
    Preview,
    Profiled,
    Pruned,
    Resumed,
    Saved,
    Started,
    Stopped,
    Verified,
)

from .reader import event_of

LOG_LINES = 1000
"""Events that the list keeps."""
RECENT = 20
"""Generations over which the pace is taken."""


UNKNOWN = Generation(
    at=0.0,
    generation=0,
    metric="loss",
    train_loss=(nan,),
    validation_loss=(nan,),
    sparsity=(nan,),
    learning_rate=(nan,),
    parents=(0,),
    order=(),
    capacity=(nan,),
    target=nan,
    actual=nan,
    seconds=0.0,
)
"""Stands for the generations of a log in which every line of one is damaged."""


class Generations(Sequence[Generation]):
    """The generations of a run in order. Those given as lines of the log are decoded on access."""

    def __init__(self) -> None:
        self._items: list[Generation | bytes] = []

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> Generation: ...
    @overload
    def __getitem__(self, place: slice) -> list[Generation]: ...
    def __getitem__(self, place: int | slice) -> Generation | list[Generation]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self._items)))]
        item = self._items[place]
        if isinstance(item, bytes):
            place = range(len(self._items))[place]
            item = self._items[place] = _decoded(item) or self._near(place)
        return item

    def _near(self, place: int) -> Generation:
        """Return the nearest readable generation, later ones first, in the place of one whose line is damaged."""
        for other in (*range(place + 1, len(self._items)), *range(place - 1, -1, -1)):
            item = self._items[other]
            found = _decoded(item) if isinstance(item, bytes) else item
            if found is not None:
                return found
        return UNKNOWN

    def add(self, generation: Generation | bytes) -> None:
        """Append the next one."""
        self._items.append(generation)

    def rewind(self, last: int) -> None:
        """Remove those after generation ``last``."""
        while self._items:
            item = self._items[-1]
            found = _decoded(item) if isinstance(item, bytes) else item
            if found is not None and found.generation <= last:
                break
            self._items.pop()


def _decoded(line: bytes) -> Generation | None:
    try:
        event = event_of(line)
    except DataError:
        return None
    return event if isinstance(event, Generation) else None


@dataclass
class Story:
    """A run so far. Only :func:`extend` changes it."""

    started: Started | None = None
    generations: Generations = field(default_factory=Generations)
    layers: LayerSparsity | None = None
    preview: Preview | None = None
    front: Front | None = None
    saved: dict[str, Saved] = field(default_factory=dict)
    verified: Verified | None = None
    compared: Compared | None = None
    profiled: Profiled | None = None
    paused: bool = False
    ended: Finished | Stopped | Failed | None = None
    log: deque[Event] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    """The latest events of the list, oldest first."""
    count: int = 0
    """Events of the list so far, those that it no longer keeps included."""
    damaged: int = 0
    before: float = 0.0
    """Seconds of the sessions before the last resume."""
    since: float = 0.0
    """Unix time at which the present session began."""
    last: float = 0.0
    """Unix time of the last event."""

    @property
    def latest(self) -> Generation | None:
        """Return the last completed generation."""
        return self.generations[-1] if self.generations else None

    @property
    def metric(self) -> str:
        """Return the name of the reported loss."""
        return self.latest.metric if self.latest else "loss"

    @property
    def total(self) -> int:
        """Return the generations of the whole run."""
        return self.started.generations if self.started else 0

    @property
    def best(self) -> int:
        """Return the cell with the lowest validation loss of the last generation."""
        latest = self.latest
        if latest is None:
            return 0
        return min(range(len(latest.validation_loss)), key=lambda cell: _rank(latest.validation_loss[cell]))

    def elapsed(self, now: float | None) -> float:
        """Return the seconds the run has worked, up to ``now`` or to its last event."""
        return self.before + max(0.0, (now or self.last) - self.since) if self.since else 0.0

    @property
    def pace(self) -> float:
        """Return the recent generations per second."""
        recent = self.generations[-RECENT:]
        seconds = sum(generation.seconds for generation in recent)
        return len(recent) / seconds if seconds > 0 else 0.0


def extend(story: Story, events: Iterable[Event | bytes]) -> None:
    """Add events to a story, in place. An event given as a line of the log is a generation."""
    for event in events:
        if isinstance(event, bytes):
            story.generations.add(event)
            continue
        if isinstance(event, Started):
            story.started, story.since = event, event.at
        elif isinstance(event, Generation):
            story.generations.add(event)
        elif isinstance(event, LayerSparsity):
            story.layers = event
        elif isinstance(event, Preview):
            story.preview = event
        elif isinstance(event, Resumed):
            _rewind(story, event)
        elif isinstance(event, Paused):
            story.paused = event.waiting
        elif isinstance(event, Front):
            story.front = event
        elif isinstance(event, Saved):
            story.saved[event.path] = event
        elif isinstance(event, Verified):
            story.verified = event
        elif isinstance(event, Compared):
            story.compared = event
        elif isinstance(event, Profiled):
            story.profiled = event
        elif isinstance(event, Finished | Stopped | Failed):
            story.ended, story.paused = event, False
        if not isinstance(event, LayerSparsity | Preview):
            story.log.append(event)
            story.count += 1
        story.last = event.at


def _rewind(story: Story, event: Resumed) -> None:
    """Remove what a resume supersedes: what came after its generation, and how the run ended."""
    story.generations.rewind(event.generation)
    for name in ("layers", "preview"):
        latest = getattr(story, name)
        if latest is not None and latest.generation > event.generation:
            setattr(story, name, None)
    story.front = story.verified = story.compared = story.profiled = story.ended = None
    story.saved = {}
    story.paused = False
    story.before, story.since = story.elapsed(None), event.at


SUMMARIES: dict[str, Callable[[tuple[float, ...]], float]] = {
    "best": lambda values: min(values, key=_rank),
    "mean": fmean,
    "worst": lambda values: max(values, key=_rank),
}
"""How one number stands for all cells."""


def _rank(value: float) -> tuple[bool, float]:
    """Return the sort key of a loss; not-a-number is worse than everything."""
    return (value != value, value)


def series(
    generations: Sequence[Generation], value: Callable[[Generation], float], points: int
) -> tuple[list[int], list[float]]:
    """Return numbers and values of at most ``points`` generations, evenly spaced, with the first and the last."""
    count = len(generations)
    if count <= points:
        taken = list(generations)
    else:
        taken = [generations[round(i * (count - 1) / (points - 1))] for i in range(points)]
    return [generation.generation for generation in taken], [value(generation) for generation in taken]


def describe(event: Event) -> str:
    """Return an event in one line, for the list."""
    match event:
        case Started():
            return f"started on {event.device}, {event.training}"
        case Generation():
            best = min(event.validation_loss, key=_rank)
            return f"epoch {event.generation}: {event.metric} {best:.5f}, sparsity {event.actual:.1%}"
        case Pruned():
            cells = ", ".join(map(str, event.cells[:8])) + ("..." if len(event.cells) > 8 else "")
            return f"pruned cell {cells}" if len(event.cells) == 1 else f"pruned cells {cells}"
        case Resumed():
            return f"resumed after epoch {event.generation} {event.note}".rstrip()
        case Paused():
            return "paused" if event.waiting else "resumed"
        case Front():
            return f"front of {len(event.cells)} model{'s' * (len(event.cells) != 1)}"
        case Saved():
            return f"saved {event.path} ({event.bytes:,} bytes)"
        case Verified():
            word = "verified" if event.passed else "NOT verified"
            return f"{word}: {event.checks} checks, largest difference {event.max_difference:.1e}"
        case Compared():
            size, name = min(zip(event.bytes, event.files, strict=True))
            return f"{name} is {event.bytes[0] / size:.1f}x smaller than {event.files[0]}"
        case Profiled():
            name, seconds = max(event.seconds.items(), key=lambda phase: phase[1], default=("nothing", 0.0))
            return f"{name} took {seconds:.1f} of {sum(event.seconds.values()):.1f} s"
        case Finished():
            return f"finished in {event.seconds:.1f} s, sparsity {event.sparsity:.2%}"
        case Stopped():
            return event.reason
        case Failed():
            return f"failed: {event.message}"
        case _:
            number = getattr(event, "generation", None)
            return event.kind + (f" after epoch {number}" if number is not None else "")
