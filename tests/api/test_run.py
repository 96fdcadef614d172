from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import aecompress
from aecompress import events
from aecompress.errors import DataError, SpecError
from aecompress.spec.fields import RunSpec

SMALL = {"data": {"source": "binary-clusters:4x10x30"}, "train.epochs": 3, "model.hidden": [8]}


def test_a_run_yields_events_and_its_model_loads_as_a_torch_module(tmp_path: Path) -> None:
    log = list(aecompress.run(SMALL, tmp_path / "r"))
    assert isinstance(log[-1], events.Finished)
    module = aecompress.load(tmp_path / "r")
    assert isinstance(module, torch.nn.Module) and not module.training
    assert sum(parameter.numel() for parameter in module.parameters()) == log[-1].parameters
    assert {"encoder.0.weight", "decoder.1.bias"} <= set(module.state_dict())
    from aecompress.data.base import Request
    from aecompress.data.dataset import load as load_data

    rows = torch.from_numpy(load_data(Request(source="binary-clusters:4x10x30")).test)
    loss = float((module(module.scale(rows)) - rows).abs().mean().detach())
    assert loss == pytest.approx(log[-1].metrics["test_l1"], rel=1e-5)
    torch.testing.assert_close(module.unscale(module.scale(rows)), rows)


def test_a_spec_may_be_an_object_or_a_file(tmp_path: Path) -> None:
    spec = RunSpec.model_validate({"data": SMALL["data"], "train": {"epochs": 2}})
    list(aecompress.run(spec, tmp_path / "a"))
    list(aecompress.run(tmp_path / "a" / "spec.toml", tmp_path / "b"))
    read = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in "ab"]
    assert read[0] == read[1]


def test_faults_are_raised_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean train.epochs"):
        list(aecompress.run({"train.epoch": 3}, tmp_path / "r"))
    assert not (tmp_path / "r").exists()
    with pytest.raises(DataError, match="cannot be read"):
        aecompress.load(tmp_path)


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, aecompress; assert 'torch' not in sys.modules; aecompress.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no attribute 'prune'"):
        aecompress.prune  # noqa: B018
    assert set(aecompress.__all__) == set(aecompress._HOMES)
