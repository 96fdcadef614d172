"""Runs that survive: killed, stopped, damaged, and back to the same bits."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aecompress import event_log, events
from aecompress.errors import DataError, DeviceError, Interrupted, OutputError
from aecompress.plan import engine as engine_module
from aecompress.plan.device import card_of
from aecompress.runs.job import prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

SMALL = {
    "data.source": "binary-clusters:4x10x30",
    "model.hidden": [8],
    "model.latent": 4,
    "train.epochs": 12,
    "train.batch": 8,
    "checkpoint_every": 3,
}
VARIANTS: list[Any] = [
    {},
    {"mode": "canonical", "prune.operator": "variance"},
    {"prune.operator": "variance", "prune.probability": 0.5, "prune.schedule": "fixed", "train.rate": "walk"},
    {"evolve.order": "asynchronous", "train.optimizer": "fresh-adam", "model.family": "denoising"},
    {"model.family": "variational", "prune.operator": "conjunctive", "prune.granularity": "unit"},
    {"evolve.rule": "opponents", "evolve.topology": "von-neumann", "model.family": "denoising", "evolve.cells": 6},
    {"evolve.rule": "opponents", "evolve.order": "asynchronous", "prune.operator": "variance"},
    {"evolve.rule": "panmictic", "prune.operator": "variance", "model.family": "variational", "train.rate": "walk"},
    {"evolve.budgets": [0.0, 0.5, 0.9, 0.95], "prune.granularity": "weight", "prune.operator": "wanda"},
    {"mode": "canonical", "prune.operator": "taylor", "prune.granularity": "unit", "prune.regrowth": 0.3},
    {"compile": "on"},
    {"model.initial": "pca", "train.learning_rate": 0.1},
    {"train.bits": 3},
    {"mode": "canonical", "train.bits": 2, "model.family": "variational"},
    {"compile": "on", "evolve.order": "asynchronous", "train.optimizer": "fresh-adam", "prune.operator": "variance"},
    {"compile": "on", "model.family": "denoising", "evolve.cells": 3},
    pytest.param({"evolve.rule": "pair"}, marks=pytest.mark.slow),
    pytest.param({"evolve.topology": "moore", "evolve.cells": 6}, marks=pytest.mark.slow),
]
FILES = ("model.safetensors", "autoencoder.onnx", "encoder.onnx", "decoder.onnx", "config.json")


def job(folder: Path, **changes: Any) -> Any:
    flags = SMALL | changes
    return prepare(resolve({path: ("test", value) for path, value in flags.items()}), folder, force=True)


def model_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "model" / name).read_bytes() for name in FILES}


def stop_after(running: Any, generation: int) -> None:
    """Follow a run until a generation is complete, then close it."""
    for event in running:
        if isinstance(event, events.Generation) and event.generation == generation:
            break
    running.close()


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, changes: dict[str, Any]) -> None:
    list(run(job(tmp_path / "whole", **changes)))
    stop_after(run(job(tmp_path / "broken", **changes)), 4)
    stop_after(run(prepare_resume(tmp_path / "broken")), 9)
    assert json.loads((tmp_path / "broken" / "run.json").read_text())["status"] == "stopped"
    list(run(prepare_resume(tmp_path / "broken")))
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
    pairs = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole" / "front").rglob("*.safetensors")}
    assert all((tmp_path / "broken" / one).read_bytes() == (tmp_path / "whole" / one).read_bytes() for one in pairs)
    log = event_log.current(event_log.read_log(tmp_path / "broken" / "events.jsonl"))
    generations = [event.generation for event in log if isinstance(event, events.Generation)]
    assert generations == list(range(1, 13))


def test_two_checkpoints_are_kept_and_the_older_one_serves_when_the_newer_is_damaged(tmp_path: Path) -> None:
    list(run(job(tmp_path / "whole")))
    stop_after(run(job(tmp_path / "broken")), 7)
    states = sorted((tmp_path / "broken" / "checkpoint").glob("*.safetensors"))
    assert [state.stem for state in states] == ["generation-000006", "generation-000007"]
    damaged = bytearray(states[-1].read_bytes())
    damaged[-3] ^= 1
    states[-1].write_bytes(bytes(damaged))
    log = list(run(prepare_resume(tmp_path / "broken")))
    resumed = next(event for event in log if isinstance(event, events.Resumed))
    assert resumed.generation == int(states[0].stem[-6:])
    assert states[-1].name in resumed.note and "an older one is used" in resumed.note
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")


def test_without_a_whole_checkpoint_the_run_starts_again(tmp_path: Path) -> None:
    list(run(job(tmp_path / "whole")))
    stop_after(run(job(tmp_path / "broken")), 5)
    for state in (tmp_path / "broken" / "checkpoint").glob("*.safetensors"):
        state.write_bytes(state.read_bytes()[:100])
    log = list(run(prepare_resume(tmp_path / "broken")))
    assert isinstance(log[0], events.Resumed) and log[0].generation == 0
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_resumes_without_the_gpu_that_it_was_begun_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """With the device named, and in a number format that its spec could not begin with here."""
    flags = {"device": "cuda:9", "compile": "off", "precision": precision}
    with monkeypatch.context() as gpu:
        for place in ("plan.device", "runs.job"):
            gpu.setattr(f"aecompress.{place}.devices_for", lambda name: [torch.device("cpu")])
        gpu.setattr(engine_module, "check_precision", lambda load: None)
        list(run(job(tmp_path / "whole", **flags)))
        stop_after(run(job(tmp_path / "broken", **flags)), 4)
    monkeypatch.setattr(engine_module, "half_gain", lambda: 0.5)
    with pytest.raises(DeviceError, match="choose"):
        job(tmp_path / "other", **flags)
    path = tmp_path / "broken" / "run.json"
    status = json.loads(path.read_text())
    assert status["card"] == card_of(torch.device("cpu"))
    path.write_text(json.dumps(status | {"device": "cuda:9", "card": {"name": "Card", "capability": "9.0"}}))
    log = list(run(prepare_resume(tmp_path / "broken")))
    resumed = next(event for event in log if isinstance(event, events.Resumed))
    assert re.fullmatch(
        r"the run was begun on cuda:9 \(Card, 9.0\) and resumes on cpu \(.+, .+\), where .*", resumed.note
    )
    assert json.loads(path.read_text())["device"] == "cpu"
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")


def test_closing_at_a_generation_keeps_it_and_closing_at_the_end_leaves_a_finished_run(tmp_path: Path) -> None:
    stop_after(run(job(tmp_path / "r")), 5)
    assert (tmp_path / "r" / "checkpoint" / "generation-000005.safetensors").exists()
    running = run(prepare_resume(tmp_path / "r"))
    assert isinstance(next(event for event in running if isinstance(event, events.Finished)), events.Finished)
    running.close()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "finished"
    assert not any(
        isinstance(event, events.Stopped) for event in event_log.read_log(tmp_path / "r" / "events.jsonl")[-3:]
    )


def test_a_keyboard_interrupt_in_python_leaves_a_stopped_run_with_its_checkpoint(tmp_path: Path) -> None:
    running = run(job(tmp_path / "r"))
    with pytest.raises(KeyboardInterrupt):
        for event in running:
            if isinstance(event, events.Generation) and event.generation == 4:
                running.throw(KeyboardInterrupt())
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "stopped"
    assert (tmp_path / "r" / "checkpoint" / "generation-000004.safetensors").exists()


def test_a_relative_path_is_found_again_from_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((40, 30)))
    monkeypatch.chdir(tmp_path)
    stop_after(run(job(tmp_path / "r", **{"data.source": "rows.npy"})), 4)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stop_after(run(prepare_resume(tmp_path / "r")), 6)
    assert isinstance(list(run(prepare_resume(tmp_path / "r")))[-1], events.Finished)


def test_a_run_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    running = run(job(tmp_path / "r"))
    next(running)
    for begin in (lambda: run(prepare_resume(tmp_path / "r")), lambda: run(job(tmp_path / "r"))):
        with pytest.raises(OutputError, match="another process is writing this run"):
            next(begin())
    assert isinstance(list(running)[-1], events.Finished)


def test_an_order_is_obeyed_while_losses_are_evaluated_and_files_verified(tmp_path: Path) -> None:
    polled: list[int] = []
    whole = run(job(tmp_path / "count"), lambda: polled.append(0))  # type: ignore[func-returns-value]
    seen = [(event, len(polled)) for event in whole]
    last = next(count for event, count in seen if isinstance(event, events.Front))
    assert len(polled) > last + 30
    for polls in (last + 2, last + 20):
        count = [0]

        def stop(count: list[int] = count, polls: int = polls) -> int | None:
            count[0] += 1
            return signal.SIGTERM if count[0] >= polls else None

        with pytest.raises(Interrupted):
            list(run(job(tmp_path / "r"), stop))
        assert not (tmp_path / "r" / "model").exists()


def test_a_checkpoint_of_other_data_or_another_spec_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((40, 30)))
    changes = {"data.source": str(tmp_path / "rows.npy")}
    stop_after(run(job(tmp_path / "r", **changes)), 4)
    text = (tmp_path / "r" / "spec.toml").read_text()
    (tmp_path / "r" / "spec.toml").write_text(text.replace("seed = 0", "seed = 1"))
    with pytest.raises(DataError, match="is not the spec that the run was started with"):
        list(run(prepare_resume(tmp_path / "r")))
    (tmp_path / "r" / "spec.toml").write_text(text)
    np.save(tmp_path / "rows.npy", np.random.default_rng(1).random((40, 30)))
    with pytest.raises(DataError, match="its rows are not those"):
        prepare_resume(tmp_path / "r")


def test_control_pauses_resumes_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    running = run(job(folder, **{"train.epochs": 4000}))
    for event in running:
        if isinstance(event, events.Generation):
            break
    (folder / "control").write_text("pause")
    deadline = time.monotonic() + 20
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(folder / 'control')!r}).write_text('resume')",
        ]
    )
    paused = []
    for event in running:
        if isinstance(event, events.Paused):
            paused.append(event)
        if len(paused) == 2 or time.monotonic() > deadline:
            break
    assert child.wait() == 0
    assert [event.waiting for event in paused] == [True, False]
    assert paused[1].at - paused[0].at > 0.5
    (folder / "control").write_text("stop\n")
    with pytest.raises(Interrupted, match="stopped by control"):
        list(running)
    assert isinstance(event_log.read_log(folder / "events.jsonl")[-1], events.Stopped)
    assert list((folder / "checkpoint").glob("*.safetensors"))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aecompress", "prune", *map(str, arguments)]


def started(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(*arguments, "-o", folder, "--quiet"), stdout=subprocess.DEVNULL)


def wait_for_generation(folder: Path, process: subprocess.Popen[bytes], generation: int) -> None:
    log, deadline = folder / "events.jsonl", time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and f'"generation": {generation}, "metric"' in log.read_text():
            return
        time.sleep(0.005)


FLAGS = [
    "binary-clusters:4x10x30",
    "--hidden",
    8,
    "--latent",
    4,
    "--epochs",
    40,
    "--batch",
    2,
    "--set",
    "checkpoint_every=4",
]


def killed_and_resumed(tmp_path: Path, times: int) -> None:
    subprocess.run(command(*FLAGS, "-o", tmp_path / "whole", "--quiet"), check=True, stdout=subprocess.DEVNULL)
    whole = model_bytes(tmp_path / "whole")
    draws = random.Random(7)
    for trial in range(times):
        folder = tmp_path / f"killed-{trial}"
        process = started(folder, *FLAGS)
        wait_for_generation(folder, process, draws.randrange(1, 39))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        subprocess.run(command("--resume", folder, "--quiet"), check=True, stdout=subprocess.DEVNULL)
        assert model_bytes(folder) == whole, trial


@pytest.mark.slow
def test_killed_with_sigkill_and_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, 1)


@pytest.mark.slow
def test_killed_at_ten_random_generations(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, 10)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_stops_a_long_generation_within_two_seconds(tmp_path: Path, number: int, code: int) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60_000, 100), dtype=np.float32))
    folder = tmp_path / "r"
    process = started(folder, tmp_path / "rows.npy", "--batch", 2, "--epochs", 50, "--split", "1,0,0")
    deadline = time.monotonic() + 60
    while not (folder / "events.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(process.pid, number)
    began = time.monotonic()
    assert process.wait(timeout=20) == code
    assert time.monotonic() - began < 2
    assert json.loads((folder / "run.json").read_text())["status"] == "stopped"
    assert prepare_resume(folder).resumed


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    list(run(job(tmp_path / "r")))
    before = (tmp_path / "r" / "events.jsonl").read_bytes()
    process = subprocess.run(command("--resume", tmp_path / "r", "--json"), capture_output=True, text=True, check=False)
    assert process.returncode == 0
    assert json.loads(process.stdout)["verification"]["passed"] is True
    assert "nothing to do" in process.stderr
    assert (tmp_path / "r" / "events.jsonl").read_bytes() == before
    beside = subprocess.run(
        command("--resume", tmp_path / "r", "--batch", 3), capture_output=True, text=True, check=False
    )
    assert beside.returncode == 2 and "leave out --batch" in beside.stderr
    missing = subprocess.run(command("--resume", tmp_path / "none"), capture_output=True, text=True, check=False)
    assert missing.returncode == 2 and "name the folder of a run" in missing.stderr


def test_a_run_from_standard_input_can_be_resumed(tmp_path: Path) -> None:
    rows = "\n".join(",".join(f"{value:.3f}" for value in row) for row in np.random.default_rng(0).random((60, 8)))
    subprocess.run(
        command("-", "--epochs", 4, "-o", tmp_path / "whole", "--quiet"),
        input=rows.encode(), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (tmp_path / "whole" / "checkpoint").rename(tmp_path / "checkpoint")
    before = model_bytes(tmp_path / "whole")
    status = json.loads((tmp_path / "whole" / "run.json").read_text()) | {"status": "stopped"}
    (tmp_path / "whole" / "run.json").write_text(json.dumps(status))
    subprocess.run(command("--resume", tmp_path / "whole", "--quiet"), check=True, stdout=subprocess.DEVNULL)
    assert model_bytes(tmp_path / "whole") == before
