"""Exit codes, and the one place where errors become them. stderr is for people, stdout is data."""

from __future__ import annotations

import enum
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aecompress import errors

ECHO_SECONDS = 0.5
"""A signal this soon after the first is an echo of it: a terminal sends one to each process of a pipeline."""


class ExitCode(enum.IntEnum):
    """The exit codes, for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNVERIFIED = 3
    SIGINT = 130
    SIGTERM = 143


_CODES: dict[type[errors.AecompressError], ExitCode] = {
    errors.SpecError: ExitCode.USAGE,
    errors.DataError: ExitCode.USAGE,
    errors.OutputError: ExitCode.USAGE,
    errors.DeviceError: ExitCode.USAGE,
    errors.VerifyError: ExitCode.UNVERIFIED,
    errors.RunError: ExitCode.FAILED,
}


@contextmanager
def reported() -> Iterator[None]:
    """Turn the package's errors into one sentence each on stderr and their exit code."""
    try:
        yield
        sys.stdout.flush()
    except errors.Interrupted as fault:
        note(f"aecompress: {fault}")
        raise SystemExit(128 + fault.signal) from fault
    except errors.AecompressError as fault:
        for line in str(fault).splitlines():
            note(f"aecompress: {line}")
        raise SystemExit(int(_CODES.get(type(fault), ExitCode.FAILED))) from fault
    except MemoryError as fault:
        note("aecompress: memory ran out; choose fewer rows, smaller layers or fewer cells")
        raise SystemExit(int(ExitCode.FAILED)) from fault
    except BrokenPipeError as fault:
        # The reader of our output went away (as in `| head`), after the work was done; point stdout elsewhere so that
        # exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.DONE)) from fault
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename else ""
        note(f"aecompress: {where}{fault.strerror or fault}; check the disk, then run the command again, or --resume")
        raise SystemExit(int(ExitCode.FAILED)) from fault


def stop_on_signals() -> Callable[[], int | None]:
    """Return a function that returns the first SIGINT or SIGTERM from now on; a second one ends the program at once."""
    signals: list[int] = []
    first_at = 0.0

    def handle(received: int, frame: object) -> None:
        nonlocal first_at
        if signals and time.monotonic() - first_at > ECHO_SECONDS:
            os._exit(128 + received)
        first_at = first_at or time.monotonic()
        signals.append(received)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return lambda: signals[0] if signals else None


def note(line: str) -> None:
    """Print one line to stderr."""
    print(line, file=sys.stderr)


def emit_json(value: Any) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(value))


def emit_row(*columns: object) -> None:
    """Print one tab-separated line to stdout."""
    print(*columns, sep="\t")
