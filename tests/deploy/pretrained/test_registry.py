"""The same function comes in from every format of the registry; anything else is refused in a sentence."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from aecompress.deploy.checkpoint import Model
from aecompress.deploy.pretrained.base import UNKNOWN
from aecompress.deploy.pretrained.registry import EXPORTS, FORMATS, read_pretrained
from aecompress.errors import DataError
from aecompress.layers.dense import dense
from tests.deploy.models import write_onnx
from tests.deploy.pretrained.modules import Plain, same_function


def write_graph(module: nn.Module, path: Path) -> None:
    shapes = {"encoder.0": (12, 8, "relu"), "encoder.1": (8, 3, "identity")}
    shapes |= {"decoder.0": (3, 8, "relu"), "decoder.1": (8, 12, "sigmoid")}
    layers = [dense(name, *shape) for name, shape in shapes.items()]
    linear = [layer for part in (module.encoder, module.decoder) for layer in part if isinstance(layer, nn.Linear)]
    tensors = {}
    for layer, source in zip(layers, linear, strict=True):
        tensors |= {f"{layer.name}.{name}": tensor.detach().numpy().T for name, tensor in source.named_parameters()}
    model = Model(
        encoder=tuple(layers[:2]),
        decoder=tuple(layers[2:]),
        tensors=tensors,
        scaling={"kind": "none", "offset": 0.0, "divisor": 1.0},
        about={},
    )
    write_onnx(path.parent, model, compacted=False)
    (path.parent / "autoencoder.onnx").replace(path)


def write_state_dict(module: nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path)


def write_nested(module: nn.Module, path: Path) -> None:
    torch.save({"epoch": 3, "model_state_dict": module.state_dict()}, path)


def write_safetensors(module: nn.Module, path: Path) -> None:
    safetensors.torch.save_file(module.state_dict(), path)


def as_keras(module: nn.Module) -> tuple[str, dict[str, np.ndarray]]:
    """Return a module as Keras describes a model, and its weights by layer and name."""
    layers: list[dict[str, object]] = [{"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 12]}}]
    weights = {}
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    for index, (layer, activation) in enumerate(zip(linear, ("relu", "linear", "relu", "sigmoid"), strict=True)):
        name = f"dense_{index}" if index else "dense"
        config = {"name": name, "units": layer.out_features, "activation": activation, "use_bias": True}
        layers.append({"class_name": "Dense", "config": config})
        weights[f"{name}/kernel"] = layer.weight.detach().numpy().T
        weights[f"{name}/bias"] = layer.bias.detach().numpy()
    return json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": layers}}), weights


def write_keras(module: nn.Module, path: Path) -> None:
    config, weights = as_keras(module)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in weights.items():
            layer, _, kind = name.partition("/")
            file[f"layers/{layer}/vars/{int(kind == 'bias')}"] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", buffer.getvalue())


def write_hdf5(module: nn.Module, path: Path) -> None:
    config, weights = as_keras(module)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config
        for name, array in weights.items():
            layer = name.partition("/")[0]
            file[f"model_weights/{layer}/{name}"] = array
            file[f"model_weights/{layer}"].attrs["weight_names"] = [f"{layer}/kernel", f"{layer}/bias"]


WRITERS: dict[str, Callable[[nn.Module, Path], None]] = {
    ".safetensors": write_safetensors,
    ".pt": write_state_dict,
    ".pth": write_nested,
    ".bin": write_state_dict,
    ".ckpt": write_nested,
    ".onnx": write_graph,
    ".keras": write_keras,
    ".h5": write_hdf5,
}
WITH_ACTIVATIONS = (".onnx", ".keras", ".h5")


def test_every_format_has_a_writer_here() -> None:
    assert WRITERS.keys() == FORMATS.keys()


@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_function_comes_in(tmp_path: Path, ending: str) -> None:
    module = Plain()
    WRITERS[ending](module, tmp_path / f"a{ending}")
    pretrained = read_pretrained(tmp_path / f"a{ending}")
    layers = pretrained.encoder + pretrained.decoder
    assert [layer.name for layer in layers] == ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
    if ending not in WITH_ACTIVATIONS:
        assert {layer.activation for layer in layers} == {UNKNOWN}
    assert same_function(pretrained, module)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"not a model at all")
    with pytest.raises(DataError, match=f"a\\{ending}: "):
        read_pretrained(tmp_path / f"a{ending}")


def test_a_missing_file_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_pretrained(tmp_path / "a.onnx")
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(DataError, match=r"takes \.safetensors, \.pt, .* \.onnx, \.keras and \.h5"):
        read_pretrained(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", EXPORTS)
def test_what_needs_code_is_refused_with_the_line_that_exports_it(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read without running code; export it as ONNX and give") as caught:
        read_pretrained(tmp_path / f"a{ending}")
    assert str(caught.value).endswith(EXPORTS[ending])


def test_a_folder_that_tensorflow_saved_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(DataError, match=r"tf2onnx\.convert --saved-model"):
        read_pretrained(tmp_path)
