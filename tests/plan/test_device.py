from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aecompress.errors import DeviceError, SpecError
from aecompress.plan import device as device_module
from aecompress.plan.device import check_memory, devices_for, find_device
from aecompress.runs.job import prepare
from aecompress.spec.resolve import resolve


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert find_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="choose --device cpu or auto"):
        find_device("cuda:99")


def test_auto_leaves_a_gpu_and_the_cpu_to_choose_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_for("cpu") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices_for("auto") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices_for("auto") == [torch.device("cuda"), torch.device("cpu")]
    with pytest.raises(DeviceError, match="choose --device cpu or auto"):
        devices_for("cuda:99")


def test_a_run_that_does_not_fit_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {
        rule: prepare(resolve({"evolve.rule": ("test", rule), "device": ("test", "cpu")}), tmp_path / rule)
        for rule in ("pair", "opponents")
    }
    needed = {}
    for rule, job in jobs.items():
        low, high = 0, 1 << 40
        while high - low > 1:
            middle = (low + high) // 2
            monkeypatch.setattr(device_module, "memory_bytes", lambda middle=middle: middle)
            try:
                check_memory(job.plan, job.spec, job.dataset, job.device)
                high = middle
            except SpecError as fault:
                assert "choose smaller layers, fewer cells or fewer rows" in str(fault)
                low = middle
        needed[rule] = high
    individual = jobs["pair"].net.layout.size * 2 * (4 * 3 + 1)
    assert needed["pair"] > 4 * individual
    assert needed["opponents"] - needed["pair"] == 4 * 3 * individual // 2
