"""Models as Keras 3.15 saved them, and what it computed of a few rows: ``files/rows.npz``.

The archives were packed again with compression, which Keras leaves out.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from aecompress.deploy.pretrained.keras import archive, reader
from aecompress.errors import DataError
from tests.deploy.pretrained.modules import run_steps
from tests.deploy.pretrained.onnx.graphs import ops

FILES = Path(__file__).parent / "files"


def saved(folder: Path, name: str) -> Path:
    """Return a file that Keras saved; HDF5 ones are unpacked."""
    packed = FILES / f"{name}.xz"
    if not packed.exists():
        return FILES / name
    (folder / name).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder / name


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("bn.keras", "affine linear affine relu linear affine relu linear sigmoid"),
        (
            "conv.keras",
            "permute conv2d affine leaky-relu:0.2 max-pool flatten linear linear elu reshape conv2d-transpose",
        ),
        ("conv1d.keras", "permute conv1d silu avg-pool upsample conv1d conv1d conv1d-transpose permute"),
        ("lstm.keras", "lstm lstm repeat lstm linear tanh"),
        ("gru.keras", "gru repeat gru linear"),
        ("nested.keras", "linear relu affine linear linear relu affine linear"),
        ("nested-h5.h5", "linear relu affine linear linear relu affine linear"),
        ("lstm-h5.h5", "lstm repeat lstm linear"),
        ("residual.keras", "linear relu linear linear"),
    ],
)
def test_what_keras_saved_gives_what_keras_computes(tmp_path: Path, name: str, steps: str) -> None:
    with np.load(FILES / "rows.npz") as arrays:
        rows, expected = (arrays[f"{name.partition('.')[0]}.{key}"] for key in "xy")
    found, own = reader.followed(saved(tmp_path, name))
    assert own == rows.shape[1:]
    assert ops(found).startswith(steps)
    assert run_steps(found, torch.from_numpy(rows)) == pytest.approx(expected, abs=1e-5)


def test_a_decoder_begins_where_its_model_does() -> None:
    found = reader.read(FILES / "nested.keras", (6,))
    assert [len(found.encoder), len(found.decoder)] == [2, 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own.keras", 'is of the class "My", whose code is not in the file; export it with model.export'),
        ("lambda.keras", 'layer "lambda" (Lambda) holds code, which is not run'),
        ("lstm-relu.keras", '(LSTM) has activation = "relu", only tanh can be read'),
        ("alone.weights.h5", "holds weights without layers; save the whole model"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, message: str) -> None:
    path = saved(tmp_path, name)
    with pytest.raises(DataError) as caught:
        reader.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def changed(folder: Path, change: Callable[[dict[str, Any]], None], weights: bytes | None = None) -> Path:
    """Return ``bn.keras`` with another configuration, or other weights."""
    with zipfile.ZipFile(FILES / "bn.keras") as saved_model:
        config, own = json.loads(saved_model.read("config.json")), saved_model.read("model.weights.h5")
    change(config)
    with zipfile.ZipFile(folder / "a.keras", "w") as made:
        made.writestr("config.json", json.dumps(config))
        made.writestr("model.weights.h5", own if weights is None else weights)
    return folder / "a.keras"


def linked(folder: Path) -> bytes:
    """Return weights that lie in another file."""
    with h5py.File(folder / "b.h5", "w") as content:
        content["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")
        content.create_dataset("layers/dense/vars/1", (3,), "f4", external=[("/etc/passwd", 0, 12)])
    return (folder / "b.h5").read_bytes()


def large(folder: Path) -> bytes:
    """Return weights that are empty and large."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as content:
        content.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10))
    return buffer.getvalue()


def layer(config: dict[str, Any], place: int) -> dict[str, Any]:
    """Return the configuration of a layer; the input is layer 0."""
    found: dict[str, Any] = config["config"]["layers"][place]["config"]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["config"]["layers"].clear(), "is not as Keras writes it"),
        (lambda config: config["config"].update(layers=None), "is not as Keras writes it"),
        (lambda config: layer(config, 2).update(activation="softmax"), 'has the activation "softmax"'),
        (
            lambda config: config["config"]["layers"][2].update(class_name="D9"),
            "(D9) is no layer that is known",
        ),
        (lambda config: layer(config, 0).update(batch_shape=[None, 1 << 40]), "more than are read"),
        (lambda config: layer(config, 0).update(batch_shape=[None, 7]), "is not as Keras writes it"),
        (lambda config: config["config"]["layers"].insert(1, _repeat(1 << 40)), "more than are read"),
    ],
)
def test_a_changed_configuration_gives_one_sentence(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(DataError, match=r"a\.keras: ") as caught:
        reader.read(changed(tmp_path, change))
    assert message in str(caught.value)


def _repeat(times: int) -> dict[str, Any]:
    return {"class_name": "RepeatVector", "config": {"name": "r", "n": times}}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (linked, "keeps its weights in other files"),
        (large, "unpacks to more than"),
        (lambda folder: b"no HDF5", "cannot be read"),
    ],
)
def test_weights_that_are_not_in_the_file_are_refused(
    tmp_path: Path, weights: Callable[[Path], bytes], message: str
) -> None:
    path = changed(tmp_path, lambda config: None, weights(tmp_path))
    with pytest.raises(DataError, match=r"a\.keras: ") as caught:
        reader.read(path)
    assert message in str(caught.value)


@pytest.mark.slow
def test_a_file_on_which_the_library_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_SECONDS", 3)
    with pytest.raises(DataError, match=r"endless\.h5: is damaged, its texts have no end"):
        reader.read(saved(tmp_path, "endless.h5"))
