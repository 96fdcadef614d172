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
from aecompress.event_log import read_log
from aecompress.events import Event, Finished, Generation, Resumed, Started
from tests.fixtures.remake import LOG

EVENTS = read_log(LOG)
PAST = [event for event in EVENTS if isinstance(event, Generation)]


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: {one.step: one.value for one in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_tensorboard_has_what_the_log_has(tmp_path: Path) -> None:
    assert list(trackers.tracked(EVENTS, ["tensorboard"], tmp_path)) == EVENTS
    recorded = scalars(tmp_path)
    metric = PAST[0].metric
    assert recorded["sparsity"] == pytest.approx({event.generation: event.actual for event in PAST})
    best = {event.generation: min(event.validation_loss) for event in PAST}
    assert recorded[f"validation_{metric}_best"] == pytest.approx(best)
    (end,) = [event for event in EVENTS if isinstance(event, Finished)]
    assert recorded["zeros"] == {PAST[-1].generation: end.zeros}


def test_a_lost_cell_leaves_the_others_numbers() -> None:
    lost = dataclasses.replace(PAST[0], train_loss=(math.nan, 0.5, 0.7), validation_loss=(0.5, math.nan, math.inf))
    recorded, metric = trackers.numbers(lost), lost.metric
    assert recorded[f"train_{metric}_best"] == recorded[f"validation_{metric}_best"] == 0.5
    assert recorded[f"train_{metric}_mean"] == pytest.approx(0.6)
    gone = trackers.numbers(dataclasses.replace(PAST[0], train_loss=(math.nan,), validation_loss=(math.nan,)))
    assert f"train_{metric}_best" not in gone and "sparsity" in gone


def test_a_resumed_run_replaces_what_no_longer_holds(tmp_path: Path) -> None:
    list(trackers.tracked(EVENTS[:-8], ["tensorboard"], tmp_path))
    again: list[Event] = [Resumed(at=0.0, generation=3, note=""), *(event for event in PAST if event.generation > 3)]
    changed = [vars(event) | {"actual": 0.5} if isinstance(event, Generation) else event for event in again]
    list(trackers.tracked([Generation(**e) if isinstance(e, dict) else e for e in changed], ["tensorboard"], tmp_path))
    recorded = scalars(tmp_path)["sparsity"]
    assert [recorded[event.generation] for event in PAST[3:]] == [0.5] * len(PAST[3:])
    assert recorded[3] == pytest.approx(PAST[2].actual)


@pytest.mark.slow
def test_mlflow_has_what_the_log_has_and_continues_its_record(
    tmp_path: Path,
) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'records.db'}")
    run = tmp_path / "coevo-digits"
    run.mkdir()
    half = EVENTS.index(PAST[3])
    list(trackers.tracked(EVENTS[:half], ["mlflow"], run))
    list(trackers.tracked([Resumed(at=0.0, generation=3, note=""), *EVENTS[half:]], ["mlflow"], run))
    client: Any = mlflow.MlflowClient()
    (record,) = client.search_runs([client.get_experiment_by_name("aecompress").experiment_id])
    assert record.info.run_name == "coevo-digits" and record.info.status == "FINISHED"
    (start,) = [event for event in EVENTS if isinstance(event, Started)]
    assert record.data.params["prune.operator"] == f'"{start.spec["prune"]["operator"]}"'
    recorded = {one.step: one.value for one in client.get_metric_history(record.info.run_id, "sparsity")}
    assert recorded == pytest.approx({event.generation: event.actual for event in PAST})


def test_values_that_are_not_finite_are_left_out() -> None:
    lost = dataclasses.replace(PAST[0], train_loss=(math.inf,), validation_loss=(math.nan,))
    assert set(trackers.numbers(lost)) == {"sparsity", "sparsity_target", "learning_rate", "seconds"}


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
    with pytest.raises(RunError, match="continues it without the tracker"):
        list(trackers.tracked(EVENTS, ["tensorboard"], tmp_path))
