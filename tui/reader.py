"""What a run folder holds, as the screen may show it: events and words without control characters."""

from __future__ import annotations

import re
from pathlib import Path

from aecompress.errors import DataError, printable
from aecompress.events import Event, from_json
from aecompress.printable import cleaned, one_line
from aecompress.steering import status_of

# JSON writes control characters as escapes or in bytes beyond ASCII; other lines, nearly all, need no second look.
_SUSPECT = re.compile(rb"\\|[^\x20-\x7e]")


def event_of(line: bytes) -> Event:
    """Return the event of one line of a log.

    Raises:
        DataError: the line is not one.
    """
    event = from_json(line.decode("utf-8", "replace"))
    if _SUSPECT.search(line):
        safe: Event = cleaned(event)
        return safe
    return event


def status(folder: Path) -> str:
    """Return the status of a run; vanished where there is none."""
    try:
        return one_line(status_of(folder))
    except DataError:
        return "vanished"


def name_of(folder: Path) -> str:
    """Return the name of a folder."""
    return printable(folder.resolve().name)
