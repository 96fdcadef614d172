from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aecompress.children import isolated
from aecompress.engines.registry import ENGINES
from aecompress.errors import DeviceError, SpecError
from aecompress.nets.autoencoder import rows_together
from aecompress.plan import device as device_module
from aecompress.plan.device import (
    CUT_BYTES,
    card_of,
    check_memory,
    devices_for,
    devices_reading,
    devices_to_resume,
    find_device,
    moved,
    values_alive,
)
from aecompress.runs.job import prepare
from aecompress.spec.resolve import resolve
from tests.engines.test_registry import Toy


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert find_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="choose --device cpu or auto"):
        find_device("cuda:99")


def test_a_run_is_resumed_on_its_device_or_on_any() -> None:
    assert devices_to_resume("cpu") == [torch.device("cpu")]
    assert devices_to_resume("cuda:99") == devices_for("auto")


def test_another_device_is_named_and_the_same_is_not() -> None:
    cpu = torch.device("cpu")
    here = card_of(cpu)
    assert set(here) == {"name", "capability"} and all(here.values())
    assert moved("cpu", here, cpu) == moved("cpu", {}, cpu) == moved("", {}, cpu) == ""
    assert moved("cuda:0", {}, cpu).startswith("the run was begun on cuda:0 and resumes on cpu (")
    older = moved("cpu", here | {"capability": "SSE", "name": ["?"]}, cpu)
    assert older.startswith("the run was begun on cpu (['?'], SSE) and resumes on cpu (")
    assert moved("no device", {}, cpu)


def test_auto_leaves_a_gpu_and_the_cpu_to_choose_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_for("cpu") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices_for("auto") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices_for("auto") == [torch.device("cuda"), torch.device("cpu")]
    with pytest.raises(DeviceError, match="choose --device cpu or auto"):
        devices_for("cuda:99")


def test_a_run_that_does_not_fit_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"device": ("test", "cpu"), "model.hidden": ("test", [4096])}  # so that weights count, not a loss's rows
    wide["model.initial"] = ("test", "scaled")  # of which no best generation is kept
    jobs = {
        rule: prepare(resolve({**wide, "evolve.rule": ("test", rule)}), tmp_path / rule)
        for rule in ("pair", "opponents", "dominance")
    }
    needed = {}
    monkeypatch.setattr(device_module, "ALIVE", 0)  # rows of an evaluation, beside which so small models do not count
    for rule, job in jobs.items():
        low, high = 0, 1 << 40
        while high - low > 1:
            middle = (low + high) // 2
            monkeypatch.setattr(device_module, "memory_bytes", lambda middle=middle: middle)
            try:
                check_memory(job.plan, job.resolved.spec, job.dataset, job.device)
                high = middle
            except SpecError as fault:
                assert "choose smaller layers, fewer cells or fewer rows" in str(fault)
                low = middle
        needed[rule] = high
    size = jobs["pair"].net.layout.size
    individual = size * 2 * (4 * 3 + 1)
    assert needed["pair"] > 4 * individual
    assert needed["opponents"] - needed["pair"] == 4 * 3 * individual // 2
    # Two members are interpolated in each of the three gaps between the cells' budgets, once nothing is trained.
    rows = 4 * sum(part.size for part in jobs["dominance"].dataset.splits.values())
    assert needed["dominance"] == 4 * individual + 2 * 3 * (individual + CUT_BYTES * size) + rows


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["pair", "dominance"])
def test_a_run_takes_about_the_memory_that_it_is_counted_with(tmp_path: Path, rule: str) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60, 6), dtype=np.float32))
    code = f"""
from pathlib import Path
import aecompress.runs.run
from aecompress.runs.job import prepare
from aecompress.spec.resolve import resolve
flags = {{"data.source": "rows.npy", "evolve.rule": {rule!r}, "model.hidden": [200_000], "model.latent": 2}}
flags |= {{"train.epochs": 2, "device": "cpu"}}
job = prepare(resolve({{path: ("test", value) for path, value in flags.items()}}), Path("run"))
def peak(): return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
for event in aecompress.runs.run.run(job): pass
print(peak() - before)
"""
    took = int(subprocess.run(isolated(code), cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    flags: dict[str, Any] = {"data.source": str(tmp_path / "rows.npy"), "evolve.rule": rule, "train.epochs": 2}
    flags |= {"model.hidden": [200_000], "model.latent": 2, "device": "cpu"}
    job = prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "other")
    with pytest.MonkeyPatch.context() as machine:
        machine.setattr(device_module, "memory_bytes", lambda: took * 5 // 8)
        with pytest.raises(SpecError, match="choose smaller layers"):
            check_memory(job.plan, job.resolved.spec, job.dataset, job.device)
        machine.setattr(device_module, "memory_bytes", lambda: took * 8 // 5)
        check_memory(job.plan, job.resolved.spec, job.dataset, job.device)


def test_a_gpu_is_held_to_what_is_free_with_prunes_and_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The issue counted 80 to 90 bytes a parameter; the three populations of the plan alone are 39."""
    flags = {"device": "cpu", "train.optimizer": "adam", "evolve.rule": "pair", "model.initial": "scaled"}
    job = prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "run")
    parameters, rows = (
        job.first.cells * job.net.layout.size,
        4 * sum(part.size for part in job.dataset.splits.values()),
    )
    gpu, needed = torch.device("cuda:0"), {}
    monkeypatch.setitem(ENGINES, "toy", Toy())
    for engine in ("eager", "cuda-graphs", "toy"):
        plan = dataclasses.replace(job.plan, engine=ENGINES[engine])
        low, high = 0, 1 << 40
        while high - low > 1:
            middle = (low + high) // 2
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, middle=middle: (middle, 1 << 50))
            try:
                check_memory(plan, job.resolved.spec, job.dataset, gpu)
                high = middle
            except SpecError as fault:
                assert "cuda:0 has" in str(fault) and "GiB free; choose smaller layers" in str(fault)
                low = middle
        needed[engine] = high - rows
    cells, inputs = job.first.cells, job.net.inputs
    alive = 4 * 4 * cells * inputs * max(rows_together(cells, inputs), 3 * job.plan.training.batch)
    assert needed["eager"] == parameters * 39 + max(28 * parameters, alive)
    assert needed["toy"] == needed["eager"] + 1000 * parameters
    assert needed["cuda-graphs"] == needed["eager"] + min(12 * parameters * 21, 1 << 30) + 24 * 6 * 4 * parameters


def test_rows_that_are_wide_count_while_a_loss_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 64 rows of each individual are, with what the last layer and the loss make of them."""
    fields = {"data.source": "binary-clusters:2x3x9000", "model.hidden": [4], "model.latent": 2, "device": "cpu"}
    job = prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")
    parameters, rows = job.first.cells * job.net.layout.size, sum(part.size for part in job.dataset.splits.values())
    enough = 26 * parameters + 4 * rows + 4 * 4 * job.first.cells * 64 * 9000
    for memory in (enough, enough - 1):
        monkeypatch.setattr(device_module, "memory_bytes", lambda memory=memory: memory)
        with contextlib.nullcontext() if memory == enough else pytest.raises(SpecError, match="choose smaller layers"):
            check_memory(job.plan, job.resolved.spec, job.dataset, job.device)


def test_rows_that_stay_in_their_file_train_on_the_cpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert devices_reading("auto", [gpu, cpu]) == [cpu]
    with pytest.raises(DeviceError, match=r"device = 'cuda': rows that are read from their file train on the CPU"):
        devices_reading("cuda", [gpu])


def test_the_cure_for_many_rows_is_to_leave_them_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((120_000, 40), np.float32))
    job = prepare(resolve({"data.source": ("--data", str(tmp_path / "rows.npy"))}), tmp_path / "run")
    monkeypatch.setattr(device_module, "memory_bytes", lambda: 20_000_000)
    with pytest.raises(SpecError, match=r"choose smaller layers, fewer cells or --in-memory no"):
        check_memory(job.plan, job.resolved.spec, job.dataset, job.device)


def test_channels_at_places_count_while_a_loss_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 x 60 images with 16 channels, they are many times the inputs."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((40, 60, 60), np.float32))
    fields = {"data.source": str(tmp_path / "rows.npy"), "model.network": "conv", "model.hidden": [16], "device": "cpu"}
    job = prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")
    layers = 2 * 30 * 30 * 16 + 3 * 60 * 60  # two of 16 channels; the ends, and the last convolution before its end
    assert values_alive(job.net) == 4 * 3600 + 2 * layers + 30 * 30 * 9 * 16
    rows = 4 * job.first.cells * 64 * values_alive(job.net)
    monkeypatch.setattr(device_module, "memory_bytes", lambda: rows - 1)
    with pytest.raises(SpecError, match="choose smaller layers"):
        check_memory(job.plan, job.resolved.spec, job.dataset, job.device)
