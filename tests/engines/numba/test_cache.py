"""Compiled code is kept between processes, and by no change of the folder's sources outlived."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import aecompress
from aecompress.engines.numba import cache, engine
from aecompress.engines.numba.cell import train_cell
from tests.engines.numba.networks import NOTHING

PACKAGE = Path(aecompress.__file__).parent


def in_child(script: str, *, path: Path = PACKAGE.parent, kept: Path | None = None) -> str:
    """What a script prints in a process of its own, which imports the package from ``path``."""
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {} if kept is None else {"NUMBA_CACHE_DIR": str(kept)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_compiled_code_is_kept_between_processes() -> None:
    script = (
        "from aecompress.engines.numba.engine import train_cell, warm; warm(); "
        "print(sum(train_cell.stats.cache_hits.values()), sum(train_cell.stats.cache_misses.values()))"
    )
    engine.prepare(NOTHING)
    assert in_child(script).split() == ["1", "0"]


UPDATE = """
import numpy as np
from aecompress.engines.numba import pieces, updates

weights, mask, gradient = (np.full(4, value, np.float32) for value in (1.0, 1.0, 0.5))
one = np.float32(0.25)
row = updates.Weights(weights, mask, weights, weights)
rule = updates.Rule(True, False, one, one, one)
updates.update_row(row, updates.Slopes(gradient, weights), rule, updates.StepSize(one, one))
stats, gate = updates.update_row.stats, np.zeros(2, np.int64)
pieces.release(gate)
others = pieces.release.stats
print(len(stats.cache_hits), len(stats.cache_misses), len(others.cache_hits), weights[0])
"""


@pytest.mark.slow
def test_a_change_of_one_file_empties_the_cache_of_all(tmp_path: Path) -> None:
    """`fresh_adam` is called by `update_row` two calls deep; `release` does not call it, nor lies it in its file."""
    copy, kept = tmp_path / "copy", tmp_path / "kept"
    shutil.copytree(PACKAGE, copy / "aecompress", ignore=shutil.ignore_patterns("__pycache__"))
    runs = [in_child(UPDATE, path=copy, kept=kept).split() for _ in range(2)]
    assert [run[:3] for run in runs] == [["0", "1", "0"], ["1", "0", "1"]]
    assert float(runs[0][3]) == float(runs[1][3]) == pytest.approx(1 - 0.25 * 0.5 / 0.75)

    source = copy / "aecompress" / "engines" / "numba" / "updates.py"
    text, old = source.read_text(encoding="utf-8"), "return weight - step.size * (slope / (abs(slope) + step.epsilon))"
    assert old in text
    source.write_text(text.replace(old, old.replace("step.size *", "2 * step.size *")), encoding="utf-8")
    changed = in_child(UPDATE, path=copy, kept=kept).split()
    assert changed[:3] == ["0", "1", "0"]
    assert float(changed[3]) == pytest.approx(1 - 2 * 0.25 * 0.5 / 0.75)
    assert in_child(UPDATE, path=copy, kept=kept).split() == ["1", "0", "1", changed[3]]


@pytest.mark.slow
def test_a_change_of_a_called_function_in_another_file_is_noticed(tmp_path: Path) -> None:
    """numba alone would not notice: `update_row` calls `as_float32` and `refresh` of another file."""
    copy, kept = tmp_path / "copy", tmp_path / "kept"
    shutil.copytree(PACKAGE, copy / "aecompress", ignore=shutil.ignore_patterns("__pycache__"))
    assert in_child(UPDATE, path=copy, kept=kept).split()[:3] == ["0", "1", "0"]
    source = copy / "aecompress" / "engines" / "numba" / "jit.py"
    text, old = source.read_text(encoding="utf-8"), "    return lambda value: value\n"
    assert text.count(old) == 1
    source.write_text(text.replace(old, "    return lambda value: np.float32(3) * value\n"), encoding="utf-8")
    changed = in_child(UPDATE, path=copy, kept=kept).split()
    assert changed[:3] == ["0", "1", "0"]
    assert float(changed[3]) == pytest.approx(1 - 0.25 * 1.5 / 1.75)


def test_the_newest_directories_of_other_sources_stay(tmp_path: Path) -> None:
    for age in range(6):
        old = tmp_path / f"{cache.PREFIX}{age}"
        old.mkdir()
        (old / "x.nbi").touch()
        os.utime(old, (1e9 - age, 1e9 - age))
    (tmp_path / "other").mkdir()
    (tmp_path / f"{cache.PREFIX}file").touch()
    new = tmp_path / f"{cache.PREFIX}new"
    new.mkdir()
    cache.drop_old(new)
    names = sorted(path.name.removeprefix(cache.PREFIX) for path in tmp_path.iterdir())
    assert names == ["0", "1", "file", "new", "other"] and cache.KEPT == 3
    cache.drop_old(tmp_path / "gone" / "new")  # nothing there: nothing happens


def test_a_directory_that_another_process_removes_is_made_again(tmp_path: Path) -> None:
    script = """
import shutil
import numpy as np
from aecompress.engines.numba import pieces
gate = np.zeros(2, np.int64)
pieces.claim(gate, 1)
shutil.rmtree(pieces.release.stats.cache_path)
pieces.release(gate)
print(pieces.release.stats.cache_path)
"""
    directory = Path(in_child(script, kept=tmp_path).strip())
    assert directory.is_dir() and tmp_path in directory.parents
    assert list(directory.glob("pieces.release-*.nbc"))


def test_where_nothing_can_be_written_nothing_is_kept_and_all_works(tmp_path: Path) -> None:
    script = """
from pathlib import Path
import numpy as np
from aecompress.engines.numba import pieces
place = Path(pieces.release.stats.cache_path).parent
place.rmdir()
place.touch()  # no directory can be made here
gate = np.zeros(2, np.int64)
pieces.release(gate)
print(gate, place.is_file())
"""
    assert in_child(script, kept=tmp_path) == "[0 1] True\n"


def test_where_the_cache_is(tmp_path: Path) -> None:
    place = in_child(
        "from aecompress.engines.numba.cell import train_cell; print(train_cell.stats.cache_path)", kept=tmp_path
    )
    assert place.startswith(str(tmp_path)) and place.strip().endswith(cache.PREFIX + cache.source_stamp())


def test_compiling_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(train_cell.stats), "cache_path", str(tmp_path), raising=False)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.prepare(stop)
    assert not list(tmp_path.glob("*.complete"))


def twice(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_damaged_code_is_compiled_again_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def hits() -> int:
        function = cache.cached(numba.njit(twice))
        assert function(3) == 6
        return sum(function.stats.cache_hits.values())

    assert [hits(), hits()] == [0, 1]
    for path in tmp_path.rglob(f"*.{ending}"):
        path.write_bytes(path.read_bytes()[:100])
    assert [hits(), hits()] == [0, 1]
