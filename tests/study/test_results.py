from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aecompress.errors import DataError
from aecompress.event_log import read_log
from aecompress.events import Finished, Generation
from aecompress.runs.ended import read_run
from aecompress.study.design import copied
from aecompress.study.results import read_outcomes, read_result


def test_a_trial_counts_once_with_the_mean_of_its_cells(finished: Path) -> None:
    found = read_outcomes(copied(finished), finished)
    assert [(outcome.group.name, len(outcome.results)) for outcome in found] == [
        ("one", 3), ("ring, random", 3), ("ring, variance", 3),
    ]  # fmt: skip
    for outcome in found:
        for result in outcome.results:
            log = read_log(result.folder / "events.jsonl")
            past = [event for event in log if isinstance(event, Generation)]
            (end,) = [event for event in log if isinstance(event, Finished)]
            assert result.curves.loss.shape == (4, 1 if outcome.group.name == "one" else 3)
            np.testing.assert_allclose(result.curves.loss[-1], past[-1].train_loss)
            assert result.loss == pytest.approx(np.mean(past[-1].train_loss), rel=1e-5)
            assert result.capacity == pytest.approx(np.mean(past[-1].capacity))
            assert result.curves.nonzeros[-1] == pytest.approx(end.parameters * result.nonzero)
            assert result.chosen == end.metrics["test_l1"]
            assert result.spec["seed"] == result.seed
    assert found[1].losses.tolist() == [result.loss for result in found[1].results]


def test_groups_without_a_finished_run_are_left_out(finished: Path, tmp_path: Path) -> None:
    for name in ("study.toml", "ring-random-seed-2"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copy
        copy(finished / name, tmp_path / name)
    (found,) = read_outcomes(copied(tmp_path), tmp_path)
    assert found.group.name == "ring, random" and [result.seed for result in found.results] == [2]
    shutil.rmtree(tmp_path / "ring-random-seed-2")
    with pytest.raises(DataError, match="none of the study's runs is finished"):
        read_outcomes(copied(tmp_path), tmp_path)


def test_a_damaged_log_is_named(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished / "one-seed-1", run)
    log = run / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"event": "finished"' not in line))
    with pytest.raises(DataError, match="lacks its end"):
        read_result(run, 1)
    log.write_text("".join(line.replace('"train_l1"', '"train_x"') for line in lines))
    with pytest.raises(DataError, match="lacks its end"):
        read_result(run, 1)
    other = (finished / "ring-random-seed-1" / "events.jsonl").read_text().splitlines(keepends=True)
    log.write_text("".join([*lines, *other[1:-1]]))  # of a run of three cells
    assert {len(event.train_loss) for event in read_run(run) if isinstance(event, Generation)} == {1}
    log.write_text("".join(lines[1:]))
    with pytest.raises(DataError, match="has no start"):
        read_run(run)
    log.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_run(run)
