"""docs/data.md shows what its commands print."""

from __future__ import annotations

import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from aecompress.cli.main import app

PAGE = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN = re.findall(r"```console\n\$ (aecompress data .*?)\n(.*?)```", PAGE, re.DOTALL)


class Terminal(io.StringIO):
    """A stream that is a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def printed(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints on a terminal, stdout and stderr together."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit):
        app(shlex.split(command)[1:])
    return stream.getvalue()


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (len(SCRIPTS), len(SHOWN)) == (1, 2)
    monkeypatch.chdir(tmp_path)
    Path("make.py").write_text(SCRIPTS[0])
    runpy.run_path("make.py")
    for command, output in SHOWN:
        assert printed(command, monkeypatch).strip() == output.strip(), command
