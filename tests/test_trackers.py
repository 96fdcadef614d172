from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aecompress import trackers
from aecompress.errors import RunError, SpecError
from aecompress.events import Event, Finished, Generation, Resumed, Started, read_log
from tests.fixtures.remake import LOG

SAID = read_log(LOG)
PAST = [event for event in SAID if isinstance(event, Generation)]


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_tensorboard_has_what_the_log_says(tmp_path: Path) -> None:
    assert list(trackers.tracked(SAID, ["tensorboard"], tmp_path)) == SAID
    told = scalars(tmp_path)
    metric = PAST[0].measure
    assert told["sparsity"] == pytest.approx({event.generation: event.actual for event in PAST})
    best = {event.generation: min(event.validation_loss) for event in PAST}
    assert told[f"validation_{metric}_best"] == pytest.approx(best)
    (end,) = [event for event in SAID if isinstance(event, Finished)]
    assert told["zeros"] == {PAST[-1].generation: end.zeros}


def test_a_lost_cell_leaves_the_others_numbers() -> None:
    lost = dataclasses.replace(PAST[0], train_loss=(math.nan, 0.5, 0.7), validation_loss=(0.5, math.nan, math.inf))
    told, metric = trackers.numbers(lost), lost.metric
    assert told[f"train_{metric}_best"] == told[f"validation_{metric}_best"] == 0.5
    assert told[f"train_{metric}_mean"] == pytest.approx(0.6)
    gone = trackers.numbers(dataclasses.replace(PAST[0], train_loss=(math.nan,), validation_loss=(math.nan,)))
    assert f"train_{metric}_best" not in gone and "sparsity" in gone


def test_a_resumed_run_replaces_what_no_longer_holds(tmp_path: Path) -> None:
    list(trackers.tracked(SAID[:-8], ["tensorboard"], tmp_path))
    again: list[Event] = [Resumed(0.0, 3, ""), *(event for event in PAST if event.generation > 3)]
    changed = [vars(event) | {"reached": 0.5} if isinstance(event, Generation) else event for event in again]
    list(trackers.tracked([Generation(**e) if isinstance(e, dict) else e for e in changed], ["tensorboard"], tmp_path))
    told = scalars(tmp_path)["sparsity"]
    assert [told[event.generation] for event in PAST[3:]] == [0.5] * len(PAST[3:])
    assert told[3] == pytest.approx(PAST[2].actual)


def test_mlflow_has_what_the_log_says_and_goes_on_with_its_record(
    tmp_path: Path,
) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'records.db'}")
    run = tmp_path / "coevo-digits"
    run.mkdir()
    half = SAID.index(PAST[3])
    list(trackers.tracked(SAID[:half], ["mlflow"], run))
    list(trackers.tracked([Resumed(0.0, 3, ""), *SAID[half:]], ["mlflow"], run))
    client: Any = mlflow.MlflowClient()
    (record,) = client.search_runs([client.get_experiment_by_name("aecompress").experiment_id])
    assert record.info.run_name == "coevo-digits" and record.info.status == "FINISHED"
    (start,) = [event for event in SAID if isinstance(event, Started)]
    assert record.data.params["prune.operator"] == f'"{start.spec["prune"]["operator"]}"'
    told = {one.step: one.value for one in client.get_metric_history(record.info.run_id, "sparsity")}
    assert told == pytest.approx({event.generation: event.actual for event in PAST})


def test_values_that_are_not_finite_are_left_out() -> None:
    lost = Generation(0.0, 1, "mse", (math.inf,), (math.nan,), (0.5,), (0.1,), (0,), (), (1.0,), 0.5, 0.5, 1.0)
    assert set(trackers.numbers(lost)) == {"sparsity", "sparsity_asked", "learning_rate", "seconds"}


def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="choose tensorboard or mlflow"):
        trackers.check(["weights"])
    code = "import sys; sys.modules['mlflow'] = None; from aecompress.cli.main import main; main()"
    words = ["prune", "-o", str(tmp_path / "r"), "--track", "mlflow", "--epochs", "1"]
    hidden = [sys.executable, "-c", code, *words]
    done = subprocess.run(hidden, capture_output=True, text=True, env=os.environ, timeout=120, check=False)
    assert done.returncode == 2 and "pip install 'aecompress[mlflow]'" in done.stderr, done.stderr
    assert not (tmp_path / "r").exists()


def test_a_tracker_that_fails_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(RunError, match="goes on without the tracker"):
        list(trackers.tracked(SAID, ["tensorboard"], tmp_path))
