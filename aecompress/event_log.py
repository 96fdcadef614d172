"""The log of a run, ``events.jsonl``: its events read back, and those of them that still hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from aecompress.errors import DataError
from aecompress.events import (
    Compared,
    Event,
    Failed,
    Finished,
    Front,
    Paused,
    Profiled,
    Resumed,
    Saved,
    Stopped,
    Verified,
    from_json,
)
from aecompress.files import open_own

LONGEST_LINE = 32 << 20
"""Bytes of a line of a log; a generation of a hundred thousand cells has less."""
ENDINGS = (Paused, Front, Saved, Verified, Compared, Profiled, Stopped, Finished, Failed)
"""Events that no longer hold once the run is resumed."""


def read_log(path: Path) -> list[Event]:
    """Read the events of a log; a half-written, damaged or endless line is skipped."""
    log = []
    with open_own(path) as file:
        whole = True
        while line := file.readline(LONGEST_LINE):
            begins, whole = whole, line.endswith(b"\n")
            if begins and (whole or len(line) < LONGEST_LINE):
                with contextlib.suppress(DataError):
                    log.append(from_json(line.decode("utf-8", "replace")))
    return log


def current(log: Iterable[Event]) -> list[Event]:
    """Return the events that still hold: a `resumed` event supersedes those of generations after the one it names."""
    holding: list[Event] = []
    for event in log:
        if isinstance(event, Resumed):
            holding = [
                earlier
                for earlier in holding
                if getattr(earlier, "generation", 0) <= event.generation and not isinstance(earlier, ENDINGS)
            ]
        holding.append(event)
    return holding
