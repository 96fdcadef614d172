"""LSTM, GRU and repeat beside torch's modules and onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from aecompress.api.load import load
from aecompress.deploy import compact, graph, reference
from aecompress.deploy.checkpoint import Model, load_model, save_model
from aecompress.deploy.compact import chain_of
from aecompress.errors import SpecError
from aecompress.layers import kinds
from aecompress.layers.base import BoundLayer, bind
from aecompress.layers.dense import Dense
from aecompress.layers.recurrent import Gru, Lstm, Repeat
from aecompress.layers.scale import Scale
from aecompress.nets.shapes import Autoencoder, build

STEPS, INPUTS, UNITS = 5, 3, 4
MODULES: dict[str, tuple[Any, type[nn.Module]]] = {"lstm": (Lstm, nn.LSTM), "gru": (Gru, nn.GRU)}
RECURRENT = pytest.mark.parametrize("kind", MODULES)


def rows_of(count: int = 7) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, STEPS, INPUTS)).astype(np.float32)


def layer_of(kind: str, sequences: bool = True) -> BoundLayer:
    return BoundLayer(MODULES[kind][0]("a", UNITS, sequences=sequences), (STEPS, INPUTS))


def tensors_of(layer: BoundLayer, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(layer.inputs, layer.outputs)).astype(np.float32)
    return weight, random.normal(size=layer.outputs).astype(np.float32)


def torch_of(kind: str, layer: BoundLayer, weight: np.ndarray, bias: np.ndarray) -> Any:
    module = MODULES[kind][1](INPUTS, UNITS, batch_first=True)
    own = layer.layer.to_torch(layer.given, weight, bias)
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in own.items()})
    return module


@RECURRENT
@pytest.mark.parametrize("sequences", [True, False])
def test_the_reference_and_onnxruntime_give_what_torchs_module_gives(kind: str, sequences: bool) -> None:
    layer = layer_of(kind, sequences)
    weight, bias = tensors_of(layer)
    with torch.no_grad():
        right, _ = torch_of(kind, layer, weight, bias)(torch.from_numpy(rows_of()))
    right = right.numpy() if sequences else right[:, -1].numpy()
    assert layer.gives == right.shape[1:]
    np.testing.assert_allclose(layer.layer.reference(rows_of(), weight, bias), right, rtol=1e-4, atol=1e-6)
    proto = graph.build(chain_of([layer], {"a.weight": weight, "a.bias": bias}), "autoencoder", 18, {})
    onnx.checker.check_model(proto, full_check=True)
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(runner.run(None, {"input": rows_of()})[0], right, rtol=1e-4, atol=1e-6)


@RECURRENT
def test_torchs_tensors_come_back_as_matrix_and_bias(kind: str) -> None:
    layer = layer_of(kind)
    weight, bias = tensors_of(layer)
    again = layer.layer.from_torch(layer.given, layer.layer.to_torch(layer.given, weight, bias))
    assert np.array_equal(again[0], weight) and np.array_equal(again[1], bias)


@RECURRENT
def test_its_maps_say_which_unit_each_weight_reads_and_writes(kind: str) -> None:
    """A unit without columns, and without weights that read it, is the same as no unit at all."""
    layer = layer_of(kind)
    weight, bias = tensors_of(layer)
    matrix, gone = layer.matrix, 2
    mine, read = matrix.writes == gone, matrix.reads[:, 0] == matrix.below + gone
    weight[:, mine], bias[mine], weight[read] = 0, 0, 0
    values = layer.layer.reference(rows_of(), weight, bias)
    assert not values[..., gone].any() and values.any()
    small = BoundLayer(layer.layer.resize(UNITS - 1), layer.given)
    assert (small.inputs, small.outputs) == weight[~read][:, ~mine].shape
    found = small.layer.reference(rows_of(), weight[~read][:, ~mine], bias[~mine])
    np.testing.assert_allclose(found, np.delete(values, gone, -1), rtol=1e-6)
    below = matrix.reads[:, 0] == 1
    other = rows_of()
    other[..., 1] = 0
    weight[below] = 0
    np.testing.assert_array_equal(
        layer.layer.reference(rows_of(), weight, bias), layer.layer.reference(other, weight, bias)
    )


def series_net(kind: str) -> Autoencoder:
    """An encoder's last step, repeated, decoded step by step, and once more."""
    make = MODULES[kind][0]
    encoder = [make("encoder.0", 7), make("encoder.1", 6, sequences=False), Dense("encoder.2", 2, "identity")]
    decoder = [Repeat("decoder.0", STEPS), make("decoder.1", 6, "tanh"), make("decoder.2", INPUTS)]
    return build(encoder, decoder, (STEPS, INPUTS))


def model_of(net: Autoencoder) -> Model:
    random, tensors = np.random.default_rng(0), {}
    for layer in net.layers:
        for name, shape in (("weight", (layer.inputs, layer.outputs)), ("bias", (layer.biases,))):
            tensors[f"{layer.name}.{name}"] = random.normal(size=shape).astype(np.float32)
    scaling = {"kind": "none", "offset": 0.0, "divisor": 1.0}
    about = {"metric": "mse", "metrics": {}}
    return Model(encoder=net.encoder, decoder=net.decoder, tensors=tensors, scaling=scaling, about=about)


@pytest.mark.parametrize(("kind", "left"), [("lstm", 0), ("gru", UNITS)])
def test_compaction_adds_the_second_bias_to_the_first_where_a_gate_does_so(kind: str, left: int) -> None:
    layer = layer_of(kind)
    weight, bias = tensors_of(layer)
    (small,) = compact.compact(chain_of([layer], {"a.weight": weight, "a.bias": bias})).layers
    assert np.count_nonzero(small.weight[-1]) == left
    np.testing.assert_allclose(small.before(rows_of()), layer.layer.reference(rows_of(), weight, bias), atol=1e-5)


@RECURRENT
def test_a_unit_that_others_of_its_layer_read_stays_where_a_tied_layer_drops_it(kind: str) -> None:
    first = MODULES[kind][0]("a", UNITS, sequences=False)
    net = bind([first, Scale("b", "relu"), Dense("c", 3, "identity")], (STEPS, INPUTS))
    random = np.random.default_rng(0)
    tensors = {f"{one.name}.weight": random.normal(size=(one.inputs, one.outputs)).astype(np.float32) for one in net}
    tensors |= {f"{one.name}.bias": random.normal(size=one.biases).astype(np.float32) for one in net}
    tensors["b.weight"][0, 1] = 0
    small = compact.compact(chain_of(net, tensors))
    np.testing.assert_allclose(compact.run(small, rows_of()), reference.run(net, tensors, rows_of()), atol=1e-5)


@RECURRENT
def test_a_model_folder_loads_into_torchs_own_modules(kind: str, tmp_path: Path) -> None:
    net = series_net(kind)
    model = model_of(net)
    save_model(tmp_path, model)
    assert load_model(tmp_path).layers == net.layers
    state = load_file(tmp_path / "model.safetensors")
    first = MODULES[kind][1](INPUTS, 7, batch_first=True)
    first.load_state_dict(
        {name.removeprefix("encoder.0."): value for name, value in state.items() if name.startswith("encoder.0.")}
    )
    rows = torch.from_numpy(rows_of())
    with torch.no_grad():
        values, _ = first(rows)
        right = reference.run(net.encoder[:1], model.tensors, rows_of())
        np.testing.assert_allclose(values.numpy(), right, rtol=1e-4, atol=1e-5)
    module = load(tmp_path)
    assert set(module.state_dict()) == set(state)
    out = module(rows.flatten(1))
    whole = reference.reconstruct(model, rows_of())[1]
    np.testing.assert_allclose(out.detach().numpy(), whole.reshape(len(rows), -1), rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_layer_is_written_and_read_with_its_numbers() -> None:
    for layer in (Lstm("a", 4, "tanh", False), Gru("a", 4), Repeat("a", 3)):
        assert kinds.from_json("a", kinds.to_json(layer)) == layer


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Lstm("encoder.0", 3)], r"encoder.0 \(lstm\) takes rows of steps and units, and is given .* shape \[6\]"),
        ([Repeat("a", 3), Repeat("b", 2)], r"layer b \(repeat\) takes rows of one axis, and is given .* \[3, 6\]"),
    ],
)
def test_rows_of_another_shape_are_refused_with_it(layers: list[Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        bind(layers, (6,))[-1].gives  # noqa: B018


def test_a_repetition_of_no_steps_is_refused() -> None:
    with pytest.raises(SpecError, match=r"layer a \(repeat\) has times = 0; at least 1 is needed"):
        Repeat("a", 0)
