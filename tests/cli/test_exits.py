"""What a command ends with: one sentence, and the exit code that belongs to it."""

from __future__ import annotations

import errno

import pytest

from aecompress.cli.exits import ExitCode, reported
from aecompress.errors import LONGEST


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
