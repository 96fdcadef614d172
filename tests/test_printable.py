"""No character of others moves the cursor, sets a colour or reorders a line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from aecompress.children import PACKAGE_ROOT, command_line
from aecompress.cli import exits
from aecompress.errors import printable
from aecompress.events import Failed, to_json
from aecompress.printable import cleaned, in_cell, one_line, shell_line
from aecompress_tui.reader import event_of, name_of
from tests.commands import aecompress

EVIL = "a\x1b]0;title\x07\x1b[31m\x9b31m\u202eb\x7f\u2066\u2028"


def safe(text: str) -> bool:
    return all(sign.isprintable() or sign in "\t\n" for sign in text) and "\u202e" not in text


def test_control_characters_are_escaped_and_nothing_else_is() -> None:
    assert in_cell("\x1b[1m\x9b\u202e\u061c\t\n") == "\\x1b[1m\\x9b\\u202e\\u061c\\t\\n"
    assert printable("Größe 日本 \U0001f600 \\") == "Größe 日本 \U0001f600 \\"
    assert printable(os.fsdecode(b"\xff")) == "\\udcff"
    assert one_line("a \n  b\n") == "a b"
    assert safe(printable(EVIL))


def test_what_is_printed_is_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    exits.note(EVIL + "\nmore")
    exits.note_table(EVIL + "\nmore")
    exits.emit_row(EVIL, 1, "two\nlines")
    exits.emit_json({EVIL: [EVIL]})
    exits.emit_text(EVIL + "\n")
    out, err = capsys.readouterr()
    assert safe(out) and safe(err)
    row, line, _ = out.splitlines()
    assert row.count("\t") == 2 and json.loads(line) == {EVIL: [EVIL]}
    assert len(err.splitlines()) == 3


def test_a_message_is_one_line_in_a_pipe_whatever_the_name(tmp_path: Path) -> None:
    for name in (EVIL + ".npy", "two\nlines.npy", "x" * 100 + ".npy"):
        done = aecompress("data", name, cwd=tmp_path)
        assert done.returncode == 2 and safe(done.stderr) and len(done.stderr.splitlines()) == 1


def test_usage_errors_and_tracebacks_are_filtered() -> None:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)}
    done = subprocess.run(command_line("verify", "a", "b", EVIL), capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and safe(done.stderr) and len(done.stderr.splitlines()) == 1
    assert "unexpected extra argument" in done.stderr and "--help" in done.stderr


def test_the_readers_of_logs_filter_what_they_read(tmp_path: Path) -> None:
    event = Failed(at=1.0, message=EVIL)
    assert event_of(to_json(event).encode()) == cleaned(event) == Failed(at=1.0, message=printable(EVIL))
    plain = Failed(at=1.0, message="plain")
    assert event_of(to_json(plain).encode()) == plain
    assert safe(name_of(tmp_path / EVIL))


def test_prose_is_wrapped_between_words_on_a_terminal() -> None:
    code = "import sys; from aecompress.cli.exits import note; note(sys.argv[1])"
    words = " ".join(["incomprehensible"] * 12) + " " + "/long" * 30
    controller, terminal = os.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen:
        from aecompress.children import isolated

        subprocess.run(isolated(code, words), stderr=terminal, check=True)
        os.close(terminal)
        lines = screen.read(4096).decode().split("\r\n")
    assert " ".join(lines).split() == words.split() and max(map(len, lines[:3])) <= 80 and len(lines) > 3


@pytest.mark.parametrize(
    "word", ["rows.csv", "two words", "it's", "", EVIL, "a\nb\tc'\\d\x1b", "é\u202e", "\udcff", "$HOME `x`"]
)
def test_a_shell_splits_a_line_into_its_words(word: str) -> None:
    line = shell_line(["printf", "%s", word])
    assert safe(line) and "\n" not in line and "\t" not in line
    assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == os.fsencode(word)
