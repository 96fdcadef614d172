"""Children import nothing from the working folder; tests/engines/numba/test_prepare.py tries the paths."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aecompress.children import PACKAGE_ROOT, command_line, isolated
from aecompress_tui import process
from tests.tui.conftest import write_run


def hostile(folder: Path) -> Path:
    """Fill a folder with files named like modules that every command imports; each leaves a mark."""
    for name in ("typer", "json", "numba", "matplotlib", "numpy"):
        (folder / f"{name}.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    return folder


def test_a_child_gets_its_arguments_as_they_are() -> None:
    odd = ["", "-c", "two words", "--flag=1"]
    done = subprocess.run(isolated("print(sys.argv[1:])", *odd), capture_output=True, text=True, check=True)
    assert done.stdout == f"{odd}\n"


def test_commands_run_nothing_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)}
    done = subprocess.run(command_line("--version"), capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("aecompress ") and not (tmp_path / "ran").exists()
    assert "neither a run" in process.report(Path("nowhere"))
    folder = write_run(tmp_path / "done")
    child = process.start(["control", str(folder), "stop"], folder)
    assert child.process.wait(60) == 2 and "is finished" in str(child.fault())
    process.forget(child)
    assert not (tmp_path / "ran").exists()
