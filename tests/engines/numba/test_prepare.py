"""Compiling ahead is done where it is needed, by a child that imports what this process does and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aecompress

ROOT = Path(aecompress.__file__).parents[1]

EAGER = """
import sys
from aecompress import events, run

flags = {"data": {"source": "binary-clusters:4x10x30"}, "train.epochs": 2, "model.hidden": [8]}
*_, last = run(flags, sys.argv[1])
assert isinstance(last, events.Finished)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("numba", "llvmlite")))
"""


def test_a_run_that_trains_eagerly_never_imports_numba(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", EAGER, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


CHILD = """
import subprocess
import sys
sys.path[:] = {paths}
from aecompress.children import isolated
subprocess.run(isolated("import aecompress, numba; print(aecompress.__file__, numba.__file__)"), check=True)
"""


def found_by_child(paths: str, folder: Path, path: str) -> list[Path]:
    """The folders above this package and numba, as a child of a process with ``sys.path = paths`` imports them."""
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", CHILD.format(paths=paths)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return [Path(name).parents[1] for name in done.stdout.split()]


def test_the_child_does_not_import_what_lies_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise SystemExit('a stray file was imported')\n", encoding="utf-8")
    mine, numba = found_by_child("[path for path in sys.path if path]", tmp_path, str(ROOT))
    assert mine == ROOT and (numba / "llvmlite").is_dir()


def test_the_child_finds_the_package_where_this_process_did(tmp_path: Path) -> None:
    (tmp_path / "aecompress").symlink_to(ROOT / "aecompress")
    mine, _ = found_by_child("sys.path", tmp_path, "")  # from the working folder, which comes first
    assert mine.resolve() in (tmp_path.resolve(), ROOT)
