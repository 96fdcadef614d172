"""Units with several values, as those of convolutions: rows keep their shape from the data to the exported files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from aecompress.data.base import Request
from aecompress.data.dataset import load
from aecompress.deploy import compact, reference, verify
from aecompress.deploy.checkpoint import Model, load_model, load_rows, save_model
from aecompress.deploy.compact import chain_of
from aecompress.errors import DataError, SpecError
from aecompress.events import Finished, Preview
from aecompress.layers.base import bind
from aecompress.layers.dense import Dense
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import forward, initial
from aecompress.nets.shapes import Autoencoder, build
from aecompress.runs.again import rows_for_model
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from tests.deploy.models import write_onnx
from tests.layers.pointwise import Pointwise

SHAPE = (5, 4)
SCALING = {"kind": "minmax", "offset": [0.25] * 20, "divisor": [2.0] * 20}


def places_net() -> Autoencoder:
    """4 channels at 5 places, a latent code of 2 at each."""
    encoder = [Pointwise("encoder.0", 6, "relu"), Pointwise("encoder.1", 2, "identity")]
    return build(encoder, [Pointwise("decoder.0", 6, "tanh"), Pointwise("decoder.1", 4, "sigmoid")], SHAPE)


def dense_code_net() -> Autoencoder:
    """Channels at places, flattened to a dense latent code."""
    encoder = [Pointwise("encoder.0", 6, "relu"), Dense("encoder.1", 7, "relu"), Dense("encoder.2", 3, "identity")]
    return build(encoder, [Dense("decoder.0", 7, "relu"), Dense("decoder.1", 20, "sigmoid")], SHAPE)


def model_of(net: Autoencoder, density: float = 1.0, seed: int = 3) -> Model:
    """A model with random weights, whole units left out."""
    random, tensors = np.random.default_rng(seed), {}
    for layer in net.layers:
        kept = (random.random(layer.units) < density)[layer.matrix.writes]
        tensors[layer.name + ".weight"] = random.normal(size=(layer.inputs, layer.outputs)).astype(np.float32) * kept
        tensors[layer.name + ".bias"] = random.normal(size=layer.outputs).astype(np.float32)
    about = {"metric": "mse", "metrics": {}}
    return Model(encoder=net.encoder, decoder=net.decoder, tensors=tensors, scaling=SCALING, about=about)


def rows_of(count: int = 12) -> np.ndarray:
    return np.random.default_rng(1).random((count, *SHAPE), dtype=np.float32)


def test_a_model_folder_keeps_the_shape_of_a_row_and_its_files_take_it(tmp_path: Path) -> None:
    model = model_of(places_net())
    save_model(tmp_path, model)
    assert json.loads((tmp_path / "config.json").read_text())["shape"] == [5, 4]
    again = load_model(tmp_path)
    assert again.shape == SHAPE and again.inputs == 20 and again.layers == model.layers
    write_onnx(tmp_path, again)
    verification = verify.verify_against(tmp_path / "autoencoder.onnx", tmp_path, rows_of(), 1e-5)
    assert verification.passed, verification.first_failure
    (given,) = onnx.load(tmp_path / "encoder.onnx").graph.input
    assert [axis.dim_value for axis in given.type.tensor_type.shape.dim] == [0, 5, 4]
    with pytest.raises(DataError, match=r"rows have 20 inputs, the model in .* 5x4; give its rows"):
        verify.verify_against(tmp_path / "autoencoder.onnx", tmp_path, rows_of().reshape(-1, 20), 1e-5)


def test_rows_of_a_file_are_given_to_a_model_in_its_shape(tmp_path: Path) -> None:
    save_model(tmp_path, model_of(places_net()))
    raw = rows_of()
    for shape in (SHAPE, (20,)):
        np.save(tmp_path / "rows.npy", raw.reshape(-1, *shape))
        np.testing.assert_allclose(rows_for_model(str(tmp_path / "rows.npy"), tmp_path), (raw - 0.25) / 2, rtol=1e-6)


@pytest.mark.parametrize("density", [0.3, 0.7])
def test_compaction_keeps_the_function_through_flattened_places(density: float) -> None:
    for net in (places_net(), dense_code_net()):
        model = model_of(net, density)
        small = compact.compact(chain_of(net.layers, model.tensors))
        right = reference.run(net.layers, model.tensors, rows_of())
        np.testing.assert_allclose(compact.run(small, rows_of()), right, rtol=1e-4, atol=1e-5)
        assert sum(one.weight.size for one in small.layers) < model.parameters


@pytest.mark.parametrize("make", [places_net, dense_code_net])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_gradient_on_flat_rows_is_that_of_finite_differences(make: Any, loss: str) -> None:
    net = make()
    flat = initial(net.layers, net.layout, 3, torch.arange(3)).double()
    rows, grad = torch.rand(3, 6, 20).double(), torch.empty_like(flat)
    trace = gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss=loss)
    assert trace.out[-1].shape == (3, 6, *net.layers[-1].gives)

    def value(weights: torch.Tensor) -> torch.Tensor:
        out = forward(net.layers, net.layout.views(weights), rows).out[-1].flatten(2)
        per = (out - rows).square() if loss == "mse" else -(rows * out.log() + (1 - rows) * (1 - out).log())
        return per.mean((1, 2))

    for at in range(0, net.layout.size, 5):
        step = torch.zeros_like(flat)
        step[:, at] = 1e-6
        slope = (value(flat + step) - value(flat - step)) / 2e-6
        torch.testing.assert_close(grad[:, at], slope, rtol=1e-4, atol=1e-7)


def fields(encoder: list[dict[str, Any]], decoder: list[dict[str, Any]], **changes: Any) -> dict[str, tuple[str, Any]]:
    spec = {"model.encoder": encoder, "model.decoder": decoder, "train.epochs": 1, "train.batch": 100}
    return {path: ("test", value) for path, value in (spec | changes).items()}


PLACES = ([{"kind": "pointwise", "out": 6}], [{"kind": "pointwise", "out": 8, "activation": "sigmoid"}])


def test_a_run_goes_from_shaped_rows_to_verified_files(tmp_path: Path) -> None:
    changes = {"prune.granularity": "unit", "export.variants": ["packed", "scorer"], "export.embed_scaling": True}
    encoder = [{"kind": "pointwise", "out": 12}, {"kind": "pointwise", "out": 4, "activation": "identity"}]
    decoder = [{"kind": "pointwise", "out": 12}, *PLACES[1]]
    events = list(run(prepare(resolve(fields(encoder, decoder, **changes)), tmp_path / "r")))
    assert isinstance(events[-1], Finished) and any(isinstance(event, Preview) for event in events)
    model = load_model(tmp_path / "r" / "model")
    assert model.shape == (8, 8) and load_rows(tmp_path / "r" / "model" / "rows.safetensors").shape == (64, 8, 8)
    assert "Autoencoder 8x8-8x12-8x4-8x12-8x8 for digits" in (tmp_path / "r" / "model" / "README.md").read_text()


def test_a_network_is_given_rows_of_the_shape_that_its_first_layer_takes() -> None:
    digits = load(Request(source="digits"))
    assert digits.facts.row_shape == (8, 8)
    assert prepare(resolve(fields(*PLACES))).net.shape == (8, 8)
    dense = ([{"out": 6}], [{"out": 64}])
    assert prepare(resolve(fields(*dense))).net.shape == (64,)


def test_a_decoder_that_gives_rows_of_another_shape_is_refused_with_both() -> None:
    with pytest.raises(SpecError, match=r"decoder.0 \(pointwise\), gives rows of shape \[8, 7\], .* takes \[8, 8\]"):
        prepare(resolve(fields(PLACES[0], [{"kind": "pointwise", "out": 7}])))
    with pytest.raises(SpecError, match=r"decoder.0 \(dense\), gives rows of shape \[63\], .* takes \[8, 8\]"):
        prepare(resolve(fields([*PLACES[0], {"out": 5}], [{"out": 63}])))
    with pytest.raises(SpecError, match="its last layer gives 63 values; the rows have 64 inputs, so set its out"):
        prepare(resolve(fields([{"out": 5}], [{"out": 63}])))


def test_a_kind_that_takes_places_refuses_flat_rows_with_the_shape() -> None:
    with pytest.raises(SpecError, match=r"encoder.0 \(pointwise\) takes rows of places .* given rows of shape \[6\]"):
        bind([Pointwise("encoder.0", 3, "relu")], (6,))
