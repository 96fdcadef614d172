"""What a command ends with: one sentence, and the exit code that belongs to it."""

from __future__ import annotations

import errno

import pytest

from aecompress.cli.exits import ExitCode, reported
from aecompress.errors import LONGEST, TableError


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (ImportError("libtorch_cpu.so: failed to map segment"), ExitCode.FAILED, "a library cannot be loaded"),
        (MemoryError(), ExitCode.FAILED, "memory ran out"),
        (OSError(errno.EMFILE, "Too many open files", "a.py"), ExitCode.FAILED, "a.py: Too many open files"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000), ExitCode.USAGE, "is longer than a name may be"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_the_system_is_a_sentence(
    capsys: pytest.CaptureFixture[str], fault: Exception, code: int, words: str
) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise fault
    assert ended.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aecompress: ") and words in line and len(line) <= LONGEST


def test_the_faults_of_a_table_are_a_line_each_and_its_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = "aecompress prune a.csv --columns " + "x" * 300
    with pytest.raises(SystemExit) as ended, reported():
        raise TableError(["a.csv: column 'x' holds dates", "a.csv: column 'y' holds texts"], command)
    assert ended.value.code == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == [
        "aecompress: a.csv: column 'x' holds dates",
        "aecompress: a.csv: column 'y' holds texts",
        f"aecompress: this works: {command}",
    ]
