"""The command line inside the test's own process: what a test of many commands uses, because a process takes seconds.

``tests/cli/test_cli.py`` runs the same commands as processes.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from aecompress.cli.main import app


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def aecompress(*arguments: object, cwd: Path | None = None) -> Done:
    """Run one command, in the folder ``cwd``; the handlers of signals are those of before again afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.chdir(cwd) if cwd is not None else contextlib.nullcontext():
            result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="aecompress")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
