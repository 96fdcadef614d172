"""The anomaly detector of MLPerf Tiny at its size, 640-128x4-8-128x4-640 with batch norms, in every kind of file.

Banbury et al. 2021, "MLPerf Tiny Benchmark", section 3.1.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from aecompress.deploy import reference
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.deploy.pretrained.tried import Requested, tried
from tests.deploy.pretrained.keras.test_reader import FILES

WIDTHS = (640, *(128,) * 4, 8, *(128,) * 4)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def detector() -> tuple[nn.Sequential, torch.Tensor]:
    """Return the detector after one pass, and its rows."""
    torch.manual_seed(0)
    rows = torch.randn(2000, 12) @ torch.randn(12, 640) / 12**0.5 + 0.3 * torch.randn(2000, 640)
    blocks = [[nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()] for before, after in pairwise(WIDTHS)]
    module = nn.Sequential(*(part for block in blocks for part in block), nn.Linear(128, 640))
    optimizer = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
    for _ in range(4):
        for given in rows.split(128)[:15]:
            optimizer.zero_grad()
            nn.functional.mse_loss(module(given), given).backward()
            optimizer.step()
    return module.eval(), rows


def as_state_dict(module: nn.Sequential, path: Path) -> None:
    torch.save(module.state_dict(), path)


def as_onnx(module: nn.Sequential, path: Path) -> None:
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    given = (torch.zeros(2, 640),)
    torch.onnx.export(module, given, path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)


def as_keras(module: nn.Sequential, path: Path) -> None:
    """Write an archive as Keras does, its layers like those of a smaller one that Keras wrote."""
    with zipfile.ZipFile(FILES / "bn.keras") as small:
        config = json.loads(small.read("config.json"))
    like = {layer["class_name"]: layer for layer in config["config"]["layers"]}
    layers, buffer = [like["InputLayer"]], io.BytesIO()
    layers[0]["config"]["batch_shape"] = [None, 640]
    with h5py.File(buffer, "w") as weights:
        for index, part in enumerate(module):
            kind = {nn.Linear: "Dense", nn.BatchNorm1d: "BatchNormalization", nn.ReLU: "Activation"}[type(part)]
            number = index // 3
            base = {"Dense": "dense", "BatchNormalization": "batch_normalization", "Activation": "activation"}[kind]
            name = f"{base}_{number}" if number else base
            own = {"name": name}
            if isinstance(part, nn.Linear):
                own |= {"units": part.out_features, "use_bias": True, "activation": "linear"}
                tensors = [part.weight.T, part.bias]
            elif isinstance(part, nn.BatchNorm1d):
                own |= {"epsilon": part.eps}
                tensors = [part.weight, part.bias, part.running_mean, part.running_var]
            else:
                own |= {"activation": "relu"}
                tensors = []
            layers.append({**like[kind], "config": {**like[kind]["config"], **own}, "build_config": {}})
            for place, tensor in enumerate(tensors):
                weights[f"layers/{name}/vars/{place}"] = tensor.detach().numpy()
    config["config"]["layers"] = layers
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", json.dumps(config))
        made.writestr("model.weights.h5", buffer.getvalue())


@pytest.mark.parametrize(("ending", "write"), [("pt", as_state_dict), ("onnx", as_onnx), ("keras", as_keras)])
def test_the_detector_of_mlperf_tiny_comes_in_as_it_is(
    detector: tuple[nn.Sequential, torch.Tensor],
    tmp_path: Path,
    ending: str,
    write: Callable[[nn.Sequential, Path], None],
) -> None:
    module, rows = detector
    write(module, tmp_path / f"a.{ending}")
    found = tried(read_pretrained(tmp_path / f"a.{ending}", (640,)), rows.numpy(), (640,), Requested())
    layers = (*found.model.encoder, *found.model.decoder)
    assert tuple(layer.outputs for layer in layers) == (*WIDTHS[1:], 640)
    assert [layer.activation for layer in layers] == [*["relu"] * 9, "identity"]
    assert len(found.model.encoder) == 5 and not found.rival
    own = module(rows).detach().numpy()
    given = reference.run(bound(found.model, (640,)), found.model.tensors, rows.numpy().astype(np.float64))
    assert given == pytest.approx(own, abs=1e-4)
