"""What a command imports before its first word: torch, onnx and SciPy take seconds, so they wait for good rows.

``benchmarks/start.py`` has the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aecompress.cli.prune import announce

HEAVY = (
    *("torch", "onnx", "onnxruntime", "numba", "scipy", "sklearn", "pandas", "textual", "numpy.ma"),
    *("numpy", "polars"),
)
COMMANDS: dict[str, tuple[tuple[str, int], ...]] = {
    "": (
        ("--help", 0),
        ("--version", 0),
        ("prune --help", 0),
        ("data rows.npy --epochs 0.5", 2),
        ("prune rows.npy --set train.bach=3", 2),
        ("prune --spec missing.toml", 2),
        ("prune --resume nowhere", 2),
        ("spec --schema", 0),
    ),
    "numpy": (
        ("prune rosw.npy", 2),
        ("prune rows.xlsx", 2),
        ("prune rows.npy --val rosw.npy", 2),
        ("prune rows.npy -o taken", 2),
        ("prune damaged.npy", 2),
        ("data rosw.npy", 2),
        ("data rows.npy", 0),
        ("data digits", 0),
        ("spec", 0),
        ("spec rows.npy --hidden 4 --latent 2", 0),
    ),
    "numpy polars": (
        ("data rows.csv", 0),
        ("prune rows.csv --columns z", 2),
        ("prune dates.csv", 2),
    ),
}
"""Commands and their exit codes, by the heavy modules that they may import; all run in one process, in this order."""
SCRIPT = """
import json, shlex, sys
from typer.testing import CliRunner
from aecompress.cli.main import app
found = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, shlex.split(command))
    found.append([done.exit_code, sorted(set(json.loads(sys.argv[2])) & set(sys.modules))])
print(json.dumps(found))
"""
FIRST_LINE = """
import io, sys
from aecompress.cli.main import app
class Stderr(io.StringIO):
    def write(self, text):
        if text.startswith("reading"):
            print(text, *sorted({"numpy", "polars", "torch"} & set(sys.modules)))
        return super().write(text)
sys.stderr = Stderr()
try:
    app(["prune", "rows.csv", "--columns", "z"])
except SystemExit:
    pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-word")
    rows = np.random.default_rng(0).random((20, 3))
    np.save(folder / "rows.npy", rows)
    np.savetxt(folder / "rows.csv", rows, delimiter=",", header="a,b,c", comments="")
    (folder / "dates.csv").write_text("day,b\n2024-01-01,1\n2024-01-02,2.5\n2024-01-03,3\n")
    (folder / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    (folder / "taken").mkdir()
    (folder / "taken" / "mine.txt").write_text("mine")
    return folder


def python(script: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, timeout=120).stdout


def test_nothing_heavy_is_imported_before_spec_paths_and_rows_are_checked(folder: Path) -> None:
    expected = {command: [code, allowed.split()] for allowed, group in COMMANDS.items() for command, code in group}
    found = json.loads(python(SCRIPT, json.dumps([*expected]), json.dumps(HEAVY), cwd=folder))
    assert dict(zip(expected, found, strict=True)) == expected


def test_the_first_line_comes_before_numpy(folder: Path) -> None:
    assert python(FIRST_LINE, cwd=folder) == "reading rows.csv (1.5 kB)\n"


@pytest.mark.parametrize(
    ("source", "more", "line"),
    [
        ("rows.csv", (), "reading rows.csv (1.5 kB)"),
        ("rows.npy:key", (), "reading rows.npy:key (0.6 kB)"),
        ("rows.npy", ("rows.npy",), "reading rows.npy and 1 more"),
        ("*.npy", (), "reading *.npy"),
        ("taken", (), "reading taken"),
        ("digits", (), "reading digits"),
        ("-", (), "reading standard input"),
        ("rosw.csv", (), ""),
    ],
)
def test_what_is_read_is_named(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    more: tuple[str, ...],
    line: str,
) -> None:
    monkeypatch.chdir(folder)
    announce(source, more)
    assert capsys.readouterr().err.strip() == line
