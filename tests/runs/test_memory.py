from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress import events
from aecompress.data.base import Raw
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import RunError
from aecompress.runs import front
from aecompress.runs.job import prepare, prepare_in_memory
from aecompress.runs.memory import Found, carry_out
from aecompress.runs.run import run
from aecompress.spec.resolve import Resolved, resolve


def spec(source: str, **more: Any) -> Resolved:
    values = {"data.source": source, "train.epochs": 3, "model.hidden": [8], "evolve.cells": 3} | more
    return resolve({path: ("test", value) for path, value in values.items()})


def carried_out(resolved: Resolved, given: Raw[Any] | None) -> tuple[Found, list[events.Event]]:
    running, log = carry_out(prepare_in_memory(resolved, given)), []
    while True:
        try:
            log.append(next(running))
        except StopIteration as end:
            return end.value, log


def test_a_run_in_memory_has_the_models_of_a_run_with_a_folder_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 6)) * 5
    np.save(tmp_path / "rows.npy", rows)
    folder = tmp_path / "r"
    written = list(run(prepare(spec(str(tmp_path / "rows.npy")), folder)))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    found, log = carried_out(spec("X"), Raw(name="X", train=rows))
    assert not list(empty.iterdir())
    right = load_model(folder / "model")
    assert all(np.array_equal(found.model.tensors[name], right.tensors[name]) for name in right.tensors)
    assert found.model.scaling == right.scaling and found.model.about["metrics"] == right.about["metrics"]
    members = front.load(folder)
    assert [model.about["losses"] for model in found.front] == [member.losses for member in members]
    chosen = found.front[found.chosen].tensors
    assert all(np.array_equal(chosen[name], found.model.tensors[name]) for name in chosen)

    def kinds(log: list[events.Event]) -> list[str]:
        files = ("verified", "saved", "compared", "checkpoint")
        return [event.kind for event in log if event.kind not in files]

    assert kinds(log) == kinds(written)


def test_the_control_file_of_the_working_folder_is_not_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "control").write_text("stop\n")
    monkeypatch.chdir(tmp_path)
    _, log = carried_out(spec("digits", **{"train.epochs": 1}), None)
    assert isinstance(log[-1], events.Finished)


def test_memory_that_ran_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr("aecompress.runs.memory.evaluated", full)
    with pytest.raises(RunError, match="memory ran out; choose smaller layers"):
        carried_out(spec("digits", **{"train.epochs": 1}), None)
