"""``aecompress data`` as a preview: all faults at once, the command that works, and what a run would see."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.commands import aecompress

N = 60
RNG = np.random.default_rng(27)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an index, dates, a gap, a sentinel, a category and a label."""
    path = tmp_path_factory.mktemp("bad") / "pump's log.csv"
    lines = [",time,flow,pressure,kind,is anomaly"]
    for row in range(N):
        flow = "" if row == 7 else f"{RNG.normal():.3f}"
        pressure = "-9999" if row in (3, 9) else f"{50 + RNG.normal():.3f}"
        label = int(row % 10 == 0)
        lines.append(f"{row},2024-01-0{1 + row % 7} {row % 24:02}:00,{flow},{pressure},{'ab'[row % 2]},{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_all_faults_come_at_once_and_the_command_works(bad: Path) -> None:
    done = aecompress("data", bad.name, cwd=bad.parent)
    assert done.returncode == 2
    faults = [line for line in done.stderr.splitlines() if line.startswith(f"aecompress: {bad.name}: ")]
    assert len(faults) == 4
    for words in ("'time' holds dates", "'flow' has 1 missing cell", "-9999", "'is anomaly' looks like a label"):
        assert sum(words in fault for fault in faults) == 1, words
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[8] for line in lines if line[0] == "column"] == [
        *("leave out", "fault", "fault", "fault", "one-hot", "fault")
    ]
    (command,) = (line[1] for line in lines if line[0] == "command")
    assert done.stderr.splitlines()[-1] == f"aecompress: this works: {command}"
    words = shlex.split(command)
    assert words[:3] == ["aecompress", "prune", bad.name]
    works = aecompress("data", *words[2:], "--json", cwd=bad.parent)
    found = json.loads(works.stdout)
    assert works.returncode == 0 and found["faults"] == []
    assert sorted(shlex.split(found["command"])) == sorted(words)
    assert found["inputs"] == 4 and found["test_rows"] >= 6
    assert [column["becomes"] for column in found["columns"]] == [
        *("leave out", "leave out", "keep", "keep", "one-hot", "label")
    ]
    assert set(found["notes"]) == set(works.stderr.splitlines())


def test_json_has_the_faults_and_no_facts(bad: Path) -> None:
    done = aecompress("data", bad, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 2 and len(found["faults"]) == 4 and "inputs" not in found
    assert found["columns"][3]["sentinels"] == [-9999.0] and found["columns"][2]["missing"] == 1
    assert len(found["first_rows"]) == 5 and found["first_rows"][0][4] == "a"


def test_a_series_is_shown_with_the_command_that_makes_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", np.sin(np.arange(300) / 9))
    done = aecompress("data", "series.npy", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout.splitlines()[0] == "read_as\tfloat64 array of shape (300,)"
    command = done.stderr.splitlines()[-1].removeprefix("aecompress: this works: ")
    assert command == "aecompress prune series.npy --window 16"
    works = aecompress("data", *shlex.split(command)[2:], cwd=tmp_path)
    assert works.returncode == 0 and "inputs\t16" in works.stdout


def test_nothing_is_written_where_rows_cannot_be_used(bad: Path, tmp_path: Path) -> None:
    assert aecompress("data", bad, "-o", tmp_path / "rows.npz").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_scaling_and_a_lying_array_are_explained(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", RNG.normal(size=(6, 50)))
    np.save(tmp_path / "small.npy", RNG.integers(0, 17, (40, 6)).astype(np.uint8))
    wide = aecompress("data", tmp_path / "wide.npy")
    assert "6 rows of 50 inputs" in wide.stderr and "by its range" in wide.stderr
    small = aecompress("data", tmp_path / "small.npy")
    assert "not divided by 255" in small.stderr and "scaling\tminmax" in small.stdout
