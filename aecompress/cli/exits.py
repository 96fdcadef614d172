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

IMPATIENT_SECONDS = 0.5


class ExitCode(enum.IntEnum):
    """What a script learns from the exit code."""

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
    """Turn the package's errors into one sentence each on stderr and the exit code that belongs to them."""
    try:
        yield
    except errors.Interrupted as fault:
        say(f"aecompress: {fault}")
        raise SystemExit(128 + fault.signal) from fault
    except errors.AecompressError as fault:
        for line in str(fault).splitlines():
            say(f"aecompress: {line}")
        raise SystemExit(int(_CODES.get(type(fault), ExitCode.FAILED))) from fault
    except MemoryError as fault:
        say("aecompress: memory ran out; give fewer rows, or ask for smaller layers or fewer cells")
        raise SystemExit(int(ExitCode.FAILED)) from fault
    except BrokenPipeError as fault:
        # The reader of our output went away (as in `| head`); point stdout elsewhere so that exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.FAILED)) from fault
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename else ""
        say(f"aecompress: {where}{fault.strerror or fault}; see to the disk, then the same command again, or --resume")
        raise SystemExit(int(ExitCode.FAILED)) from fault


def stop_on_signals() -> Callable[[], int | None]:
    """Tells the first SIGINT or SIGTERM from now on; a second one that is no echo of it ends the program at once."""
    signals: list[int] = []
    asked_at = 0.0

    def order(received: int, frame: object) -> None:
        nonlocal asked_at
        if signals and time.monotonic() - asked_at > IMPATIENT_SECONDS:
            os._exit(128 + received)
        asked_at = asked_at or time.monotonic()
        signals.append(received)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, order)
    return lambda: signals[0] if signals else None


def say(line: str) -> None:
    """One line to stderr."""
    print(line, file=sys.stderr)


def emit_json(value: Any) -> None:
    """One JSON object to stdout."""
    print(json.dumps(value))


def emit_row(*columns: object) -> None:
    """One tab-separated line to stdout."""
    print(*columns, sep="\t")
