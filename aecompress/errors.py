"""Every error a user can meet, drawn as a tree.

AecompressError
├── SpecError      a field, flag or preset is wrong             (exit code 2)
├── DataError      a dataset cannot be read or used             (exit code 2)
│   ├── DamagedError   a file of ours is not what its checksum says
│   └── TableError     columns cannot be used as they are
├── OutputError    the output folder or a file cannot be used   (exit code 2)
├── DeviceError    the requested device is not there            (exit code 2)
├── RunError       the run itself failed                        (exit code 1)
├── VerifyError    an exported model is not the trained model   (exit code 3)
├── InputError     an estimator cannot use what it was given    (from Python alone; a ValueError too)
└── Interrupted    stopped by a signal or by `control`          (exit code 130 or 143)

A message names the field or file, the value found there, and the cure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, or turn text around: all of C0 and C1 but tab and line feed, and bidi controls."""

LONGEST = 1000
"""Characters of a line of a message; what is left out lies in the middle, since the cure is at the end."""
MOST_LINES = 20
"""Lines of a message that lists faults."""


def printable(text: str) -> str:
    """Return text with every character that could steer a terminal written out, as in ``\\x1b``.

    The one filter of all that the command line, the terminal UI and the report show of names and texts of others.
    """
    return CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


class AecompressError(Exception):
    """Base of every error that is the user's to read; anything else is a bug in aecompress."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


def shortened(message: str) -> str:
    """Return a message whose lines are at most :data:`LONGEST` characters long, and at most :data:`MOST_LINES`."""
    lines = printable(message).splitlines()
    left_out = len(lines) - MOST_LINES
    if left_out > 0:
        lines = [*lines[:MOST_LINES], f"and {left_out} more"]
    half = LONGEST // 2 - 3
    return "\n".join(line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}" for line in lines)


class SpecError(AecompressError):
    """One or more faults in a spec; all of them are listed in ``faults``."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = [shortened(fault) for fault in ([faults] if isinstance(faults, str) else faults)]
        super().__init__("\n".join(self.faults))


class DataError(AecompressError):
    """A dataset cannot be read, or its rows cannot be used."""


class DamagedError(DataError):
    """A file that was written with a checksum is not that file any more."""


class TableError(DataError):
    """Columns of a table cannot be used as they are; all faults are in ``faults``."""

    def __init__(self, faults: Sequence[str], command: str = "") -> None:
        self.faults = [shortened(fault) for fault in faults]
        self.command = command
        """A command line that works, for a shell; empty where none is known."""
        super().__init__("\n".join([*self.faults, *([f"this works: {command}"] if command else [])]))


class OutputError(AecompressError):
    """The output folder or an input file of the run folder cannot be used."""


class DeviceError(AecompressError):
    """The requested device is not present on this machine."""


class RunError(AecompressError):
    """The run could not finish."""


class VerifyError(AecompressError):
    """An exported model does not reproduce the trained one."""

    def __init__(self, message: str, verification: Any = None) -> None:
        self.verification = verification
        """The :class:`aecompress.deploy.verify.Verification` of a refused export; else None."""
        super().__init__(message)


class InputError(AecompressError, ValueError):
    """An estimator cannot use its parameters or rows; scikit-learn expects a ValueError."""


class Interrupted(AecompressError):
    """The run was stopped; ``signal`` is the number of the signal that exit codes are made of.

    ``at_once``: the command line leaves without what libraries have registered for the end of the process.
    """

    def __init__(self, message: str, signal: int, *, at_once: bool = False) -> None:
        self.signal = signal
        self.at_once = at_once
        super().__init__(message)
