"""What the help says of every parameter; the streams of the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aecompress.cli.main import command, open_streams

COMMANDS = command().commands


def test_every_command_is_here() -> None:
    assert len(COMMANDS) == 12 and {"prune", "bench", "spec"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_switch_shows_no_value_and_every_other_parameter_names_its_own(name: str) -> None:
    each = COMMANDS[name]
    parameters = each.get_params(each.context_class(each))
    assert parameters
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            assert parameter.metavar == "", parameter.name
        else:
            assert parameter.metavar and "<" not in parameter.metavar, parameter.name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_sentence_that_stderr_cannot_take_changes_no_exit_code() -> None:
    program = [sys.executable, "-c", "from aecompress.start import main; main()", "prune", "missing.csv", "-o", "run"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(program, stderr=full, check=False).returncode == 2


def test_standard_input_that_was_closed_is_empty_and_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `<&-`
    monkeypatch.setattr(sys, "__stderr__", None)
    open_streams()
    with sys.stdin as stream:
        assert not stream.isatty() and stream.buffer.read() == b""
