"""Following a run folder: what was appended to its event log since the last look, and the run's status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aecompress.errors import DataError
from aecompress.event_log import LONGEST_LINE
from aecompress.events import Event
from aecompress.files import open_own

from . import reader
from .reader import event_of

CHUNK = 4 << 20
"""Bytes of one read: a long log is shown as it is read."""
LOOK_SECONDS = 0.5
"""Time between two looks at a log that does not grow."""
LATEST = (b'{"event": "preview"', b'{"event": "layer-sparsity"')
"""Lines of which only the last matters; the others of a look are not decoded, which makes long logs quick."""
KIND = min(map(len, LATEST))
GENERATION, RESUMED = b'{"event": "generation"', b'{"event": "resumed"'
DECODED = 100
"""Lines at the end of a look whose generations are decoded at once; the others are decoded on access."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one look found."""

    events: tuple[Event | bytes, ...] = ()
    """In order; the generations of a long look, but for the last, as their lines."""
    restarted: bool = False
    """The log is another one than before: earlier events no longer hold."""
    damaged: int = 0
    """Lines of this look that are no events; they are skipped."""
    behind: bool = False
    """There is more to read at once."""
    status: str = "vanished"
    """running, finished, stopped, failed or killed; vanished where the folder holds no run."""


class Follower:
    """Reads the log of ``folder`` from its beginning, then what is appended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self._place = 0
        self._number: tuple[int, int] | None = None
        self._rest = b""

    def look(self) -> Batch:
        """Return what is new; never raises for what is wrong with the folder."""
        try:
            with open_own(self.path) as log:
                stat = os.fstat(log.fileno())
                number = (stat.st_dev, stat.st_ino)
                restarted = self._number not in (None, number) or stat.st_size < self._place
                if restarted or self._number is None:
                    self._place, self._rest, self._number = 0, b"", number
                log.seek(self._place)
                data = log.read(CHUNK)
        except OSError:
            return Batch(status=reader.status(self.path.parent))
        self._place += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b"?"  # the beginning of a damaged line
        found, damaged = decoded(lines)
        return Batch(
            events=tuple(found),
            restarted=restarted,
            damaged=damaged,
            behind=len(data) == CHUNK,
            status=reader.status(self.path.parent),
        )


def decoded(lines: list[bytes]) -> tuple[list[Event | bytes], int]:
    """Return the events of ``lines``, without those that a later one replaces, and the number of damaged lines."""
    found: list[Event | bytes] = []
    damaged = 0
    resumed = max((place for place, line in enumerate(lines) if line.startswith(RESUMED)), default=-1)
    seen: set[bytes] = set()
    # From the end, so that of events that replace each other the last readable one is taken; those before a resume may
    # be all that is left after it, so they are kept.
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place]
        kind = line[:KIND] if line.startswith(LATEST) and place > resumed else b""
        if not line.strip() or kind in seen:
            continue
        if place < len(lines) - DECODED and line.startswith(GENERATION) and line.endswith(b"}"):
            found.append(line)
            continue
        try:
            found.append(event_of(line))
            seen |= {kind} - {b""}
        except DataError:
            damaged += 1
    return found[::-1], damaged


def follow(folder: Path, cancelled: Callable[[], bool]) -> Iterator[Batch]:
    """Yield what is new, and every change of the run's status, until cancelled."""
    follower = Follower(folder)
    status = None
    while not cancelled():
        batch = follower.look()
        if batch.events or batch.restarted or batch.damaged or batch.status != status:
            status = batch.status
            yield batch
        if not batch.behind:
            time.sleep(LOOK_SECONDS)
