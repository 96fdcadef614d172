from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aecompress.children import command_line
from aecompress.engines.workers import cores
from aecompress.errors import Interrupted, OutputError
from aecompress.event_log import read_log
from aecompress.events import Event, Finished, Resumed
from aecompress.runs.job import Job
from aecompress.steering import read_status, sweep_of
from aecompress.study import sweep as module
from aecompress.study.design import copied
from aecompress.study.sweep import Progress, Task, one_thread, serial, sweep
from tests.study.conftest import TINY, tiny

SILENT: Callable[[Progress], None] = lambda progress: None  # noqa: E731
NOBODY: Callable[[], None] = lambda: None  # noqa: E731


def metrics(folder: Path) -> dict[str, float]:
    return next(event.metrics for event in read_log(folder / "events.jsonl") if isinstance(event, Finished))


def test_every_run_is_a_run_folder_and_the_study_tells_how_far_it_is(finished: Path) -> None:
    study = copied(finished)
    assert len(study.trials) == 9
    for trial in study.trials:
        assert read_status(finished / trial.folder)["status"] == "finished"
        assert (finished / trial.folder / "model" / "autoencoder.onnx").is_file()
        assert read_status(finished / trial.folder)["seed"] == trial.seed
    assert sweep_of(finished) == {"runs": 9, "finished": 9, "failed": 0, "study": "tiny", "status": "finished"}


def test_what_is_done_is_skipped_and_new_groups_and_seeds_are_added(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "tiny")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").rglob("events.jsonl")}
    study = tiny(tmp_path, TINY.replace("seeds = 3", "seeds = 4").replace('"variance"', '"variance", "conjunctive"'))
    progress = sweep(study, tmp_path / "tiny", serial, 1, NOBODY, SILENT)
    assert (len(progress.skipped), len(progress.finished), progress.runs) == (9, 16, 16)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_stopped_sweep_goes_on_to_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    where, calls = tmp_path / "tiny", 0

    def stop() -> int | None:
        nonlocal calls
        calls += 1
        return signal.SIGINT if calls > 50 else None

    with pytest.raises(Interrupted):
        sweep(tiny(tmp_path), where, serial, 1, stop, SILENT)
    stopped = sweep_of(where)
    assert stopped is not None and stopped["status"] == "stopped" and stopped["finished"] < 9
    halted = [path for path in where.iterdir() if path.is_dir() and read_status(path)["status"] == "stopped"]
    assert len(halted) == 1
    sweep(tiny(tmp_path), where, serial, 1, NOBODY, SILENT)
    assert any(isinstance(event, Resumed) for event in read_log(halted[0] / "events.jsonl"))
    for trial in copied(where).trials:
        assert metrics(where / trial.folder) == metrics(finished / trial.folder)


def test_a_run_that_fails_is_tried_once_more_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    real = module.carry_out

    def failing(task: Task, stop: Callable[[], int | None] = NOBODY) -> str:
        tries.append(task.folder.name)
        if task.folder.name == "one-seed-1" or (task.folder.name == "one-seed-2" and tries.count("one-seed-2") == 1):
            return "the disk is full"
        return real(task, stop)

    monkeypatch.setattr(module, "carry_out", failing)
    progress = sweep(tiny(tmp_path), tmp_path / "tiny", serial, 1, NOBODY, SILENT)
    assert (tries.count("one-seed-1"), tries.count("one-seed-2"), tries.count("one-seed-3")) == (2, 2, 1)
    assert progress.failed == {"one-seed-1": "the disk is full"} and len(progress.finished) == 8
    assert set(progress.retried) == {"one-seed-1", "one-seed-2"} and progress.status == "failed"
    assert "one-seed-1: the disk is full" in str(module.failures(progress))
    monkeypatch.setattr(module, "carry_out", real)
    assert sweep(tiny(tmp_path), tmp_path / "tiny", serial, 1, NOBODY, SILENT).failed == {}


def test_a_run_that_cannot_learn_fails_with_its_own_sentence(tmp_path: Path) -> None:
    text = TINY.replace("learning_rate = 1e-3", "learning_rate = 10.0\ntrain.loss = 'mse'\nmodel.output = 'identity'")
    progress = sweep(tiny(tmp_path, text.replace("seeds = 3", "seeds = 1")), tmp_path / "t", serial, 1, NOBODY, SILENT)
    assert len(progress.failed) + len(progress.finished) == 3
    assert all("learning_rate" in fault for fault in progress.failed.values())


@pytest.mark.slow
def test_whatever_befalls_one_run_the_others_are_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.run

    def failing(job: Job, stop: Callable[[], int | None]) -> Iterator[Event]:
        if job.folder.name == "one-seed-2":
            raise OSError(28, "No space left on device")
        yield from real(job, stop)

    monkeypatch.setattr(module, "run", failing)
    progress = sweep(tiny(tmp_path), tmp_path / "tiny", serial, 1, NOBODY, SILENT)
    assert progress.failed == {"one-seed-2": "OSError: [Errno 28] No space left on device"}
    assert len(progress.finished) == 8


def test_a_group_that_comes_back_with_another_spec_is_not_taken_for_done(tmp_path: Path) -> None:
    text, where = TINY.replace("seeds = 3", "seeds = 1"), tmp_path / "tiny"
    sweep(tiny(tmp_path, text), where, serial, 1, NOBODY, SILENT)
    start, end = text.index('[[group]]\nname = "one"'), text.index('[[group]]\nname = "ring"')
    without = (text[:start] + text[end:]).split("[[claim]]")[0]
    sweep(tiny(tmp_path, without), where, serial, 1, NOBODY, SILENT)
    changed = text.replace('spec = { prune.operator = "none" }', 'spec = { prune.operator = "none", train.epochs = 5 }')
    with pytest.raises(OutputError, match="one-seed-1: holds a run with another spec"):
        sweep(tiny(tmp_path, changed), where, serial, 1, NOBODY, SILENT)
    for damage in ("{", "[]", '{"specs": 3}'):
        (where / "sweep.json").write_text(damage)
        with pytest.raises(OutputError, match=r"sweep.json: is damaged \(.*\); remove it"):
            sweep(tiny(tmp_path, text), where, serial, 1, NOBODY, SILENT)
    (where / "sweep.json").unlink()
    assert len(sweep(tiny(tmp_path, text), where, serial, 1, NOBODY, SILENT).skipped) == 3


def test_a_folder_with_other_things_or_another_study_is_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="holds no study"):
        sweep(tiny(tmp_path), tmp_path / "full", serial, 1, NOBODY, SILENT)
    with pytest.raises(OutputError, match="is a file"):
        sweep(tiny(tmp_path), tmp_path / "full" / "letter.txt", serial, 1, NOBODY, SILENT)
    other = tiny(tmp_path, TINY.replace("train.epochs = 4", "train.epochs = 5"))
    with pytest.raises(OutputError, match="another spec"):
        sweep(other, finished, serial, 1, NOBODY, SILENT)
    assert copied(finished).trials[0].resolved.spec.train.epochs == 4


def test_nothing_is_started_where_nothing_is_left(finished: Path) -> None:
    def carrier(tasks: Iterator[Task], begun: Callable[[Task], None], stop: Callable[[], None]) -> Iterator[Any]:
        raise AssertionError("workers were started")

    assert len(sweep(tiny(finished.parent), finished, carrier, 2, NOBODY, SILENT).skipped) == 9


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path) -> None:
    study, where = tiny(tmp_path), tmp_path / "tiny"

    def tell(progress: Progress) -> None:
        found = sweep_of(where)
        assert found is not None and found["status"] == "running"
        with pytest.raises(OutputError, match="another process"):
            sweep(study, where, serial, 1, NOBODY, SILENT)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(study, where, serial, 1, NOBODY, tell)


def test_a_killed_sweep_is_told_apart_from_a_running_one(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({**vars(Progress("s", 4, 1)), "finished": ["a"]}))
    assert sweep_of(tmp_path) == {"runs": 4, "finished": 1, "failed": 0, "study": "s", "status": "killed"}
    (tmp_path / "sweep.json").write_text("{")
    assert sweep_of(tmp_path) is None and sweep_of(tmp_path / "none") is None
    (tmp_path / "sweep.json").write_text('{"runs": 1e999, "status": "finished", "finished": [], "failed": []}')
    assert sweep_of(tmp_path) is None


def test_a_sweeps_runs_take_one_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = cores()
    with one_thread():
        assert cores() == 1
    assert cores() == before and "OMP_NUM_THREADS" not in os.environ


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from aecompress.start import main; main()", *words]


@pytest.mark.slow
def test_a_worker_killed_half_way_changes_no_number(tmp_path: Path) -> None:
    text = TINY.replace("train.epochs = 4", "train.epochs = 60\ncheckpoint_every = 5").replace("2x10x20", "2x40x50")
    text = text.replace("seeds = 3", "seeds = 1")
    study = tiny(tmp_path, text)
    sweep(study, tmp_path / "serial", serial, 1, NOBODY, SILENT)
    words = ("sweep", str(tmp_path / "study-file.toml"), "-o", str(tmp_path / "ray"), "--workers", "2", "--json")
    child = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    victim, killed = tmp_path / "ray" / "ring-random-seed-1", False
    end = time.monotonic() + 120
    while not killed and child.poll() is None and time.monotonic() < end:
        if len(list(victim.glob("checkpoint/*"))) > 1:
            os.kill(read_status(victim)["pid"], signal.SIGKILL)
            killed = True
        time.sleep(0.01)
    out, err = child.communicate(timeout=180)
    assert killed, err
    assert child.returncode == 0, err
    assert "ring-random-seed-1 failed and is tried again: its process died" in err
    assert any(isinstance(event, Resumed) for event in read_log(victim / "events.jsonl"))
    result = json.loads(out)
    assert len(result["runs"]) == 3
    for trial in study.trials:
        assert metrics(tmp_path / "ray" / trial.folder) == metrics(tmp_path / "serial" / trial.folder)
        assert result["runs"][trial.folder] == metrics(tmp_path / "serial" / trial.folder)


@pytest.mark.slow
def test_a_signal_stops_every_worker_with_a_checkpoint(tmp_path: Path) -> None:
    tiny(tmp_path, TINY.replace("train.epochs = 4", "train.epochs = 100000"))
    where = tmp_path / "ray"
    words = ("sweep", str(tmp_path / "study-file.toml"), "-o", str(where), "--workers", "2")
    child = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while len(list(where.glob("*/checkpoint/*"))) < 4 and child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 143 and out == "" and "the same command resumes it" in err, err
    assert "Traceback" not in err
    folders = [path for path in where.iterdir() if path.is_dir()]
    assert len(folders) == 2 and {read_status(path)["status"] for path in folders} == {"stopped"}
    found = sweep_of(where)
    assert found is not None and found["status"] == "stopped"


@pytest.mark.slow
def test_workers_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    tiny(tmp_path, TINY)
    for name in ("numba", "typer", "torch", "numpy", "ray", "yaml", "setproctitle", "psutil", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    words = command_line("sweep", str(tmp_path / "study-file.toml"), "-o", str(tmp_path / "ray"), "--workers", "2")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
