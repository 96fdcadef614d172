"""Exit codes, and the one place where errors become them. stderr is for people, stdout is data."""

from __future__ import annotations

import enum
import errno
import json
import logging
import os
import signal
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from aecompress import errors
from aecompress.errors import printable
from aecompress.printable import in_cell, one_line

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
    errors.DamagedError: ExitCode.USAGE,
    errors.TableError: ExitCode.USAGE,
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
        for line in lines_of(fault):
            note(f"aecompress: {line}")
        if isinstance(fault, errors.TableError) and fault.command:
            note_command(fault.command)
        raise SystemExit(int(_CODES.get(type(fault), ExitCode.FAILED))) from fault
    except MemoryError as fault:
        note("aecompress: memory ran out; choose fewer rows, smaller layers or fewer cells")
        raise SystemExit(int(ExitCode.FAILED)) from fault
    except ImportError as fault:
        cure = "give the process more memory, or install aecompress again"
        note(f"aecompress: a library cannot be loaded ({fault}); {cure}")
        raise SystemExit(int(ExitCode.FAILED)) from fault
    except BrokenPipeError as fault:
        # The reader of our output went away (as in `| head`), after the work was done; point stdout elsewhere so that
        # exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.DONE)) from fault
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename else ""
        if fault.errno == errno.ENAMETOOLONG:
            note(f"aecompress: {where}is longer than a name may be; choose another")
            raise SystemExit(int(ExitCode.USAGE)) from fault
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


def lines_of(fault: errors.AecompressError) -> list[str]:
    """Return the sentences of an error: each fault of a spec or table, each line of a list of failures, else one."""
    if isinstance(fault, errors.SpecError | errors.TableError):
        return fault.faults
    return str(fault).split("\n") if isinstance(fault, errors.RunError) else [str(fault)]


def prose(text: str) -> str:
    """Return a sentence, of bounded length, as stderr shows it: wrapped on a terminal, one line elsewhere."""
    text, width = errors.shortened(one_line(text)), width_of(sys.stderr)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False) if width else text


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream is; None where it is none."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def note(text: str) -> None:
    """Print one sentence to stderr."""
    print(prose(text), file=sys.stderr)


def note_command(command: str) -> None:
    """Print a command line that works to stderr, as one line that can be copied."""
    gap = " " if width_of(sys.stderr) is None else "\n  "
    print(f"aecompress: this works:{gap}{in_cell(command)}", file=sys.stderr)


def note_table(text: str) -> None:
    """Print the lines of a table to stderr, as wide as they are."""
    print(printable(text), file=sys.stderr)


def emit_json(value: Any) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(value).replace("\x7f", "\\u007f"))


def emit_row(*columns: object) -> None:
    """Print one tab-separated line to stdout."""
    print(*(in_cell(str(column)) for column in columns), sep="\t")


def emit_text(text: str) -> None:
    """Print lines to stdout."""
    print(printable(text), end="")


def filter_the_rest() -> None:
    """Filter what Python and libraries print by themselves: tracebacks, warnings, messages of loggers."""
    format_warning = warnings.formatwarning

    def hook(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
        print(printable("".join(traceback.format_exception(kind, fault, trace))), end="", file=sys.stderr)

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    sys.excepthook = hook
    warnings.formatwarning = lambda *given, **named: printable(format_warning(*given, **named))
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Formatter())
