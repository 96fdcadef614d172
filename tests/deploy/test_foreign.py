"""Models from elsewhere: the same function comes in from each format; anything else is refused in a sentence."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from aecompress.deploy import foreign, graph, reference
from aecompress.deploy.checkpoint import save_model
from aecompress.errors import DataError
from aecompress.layers.base import BoundLayer
from aecompress.layers.dense import dense
from aecompress.nets.foreign import read_state_dict
from tests.deploy.models import tiny_model, tiny_rows, write_onnx


class Plain(nn.Module):
    """An autoencoder as people write it."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(12, 8), activation(), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 12), nn.Sigmoid())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(rows))  # type: ignore[no-any-return]


def filled(layers: tuple[foreign.LayerShape, ...], activations: list[str]) -> tuple[BoundLayer, ...]:
    return tuple(
        dense(one.name, one.inputs, one.outputs, one.activation or activation)
        for one, activation in zip(layers, activations, strict=True)
    )


def described(layers: Sequence[foreign.LayerShape | BoundLayer]) -> list[tuple[str, int, int, str]]:
    return [(one.name, one.inputs, one.outputs, one.activation) for one in layers]


def same_function(found: foreign.Foreign, module: nn.Module) -> bool:
    rows = tiny_rows(9, 12)
    layers = filled(found.encoder + found.decoder, ["relu", "identity", "relu", "sigmoid"])
    with torch.no_grad():
        right = module(torch.from_numpy(rows)).numpy()
    return np.allclose(reference.run(layers, found.tensors, rows), right, atol=1e-6)


def test_tensors_of_safetensors_and_state_dicts_are_taken_over(tmp_path: Path) -> None:
    module = Plain()
    safetensors.torch.save_file(module.state_dict(), tmp_path / "a.safetensors")
    torch.save(module.state_dict(), tmp_path / "a.pt")
    torch.save({"epoch": 3, "model_state_dict": module.state_dict()}, tmp_path / "b.pt")
    for found in (
        foreign.from_safetensors(tmp_path / "a.safetensors"),
        foreign.from_tensors(tmp_path / "a.pt", read_state_dict(tmp_path / "a.pt")),
        foreign.from_tensors(tmp_path / "b.pt", read_state_dict(tmp_path / "b.pt")),
    ):
        assert [layer.name for layer in found.encoder + found.decoder] == [
            "encoder.0",
            "encoder.1",
            "decoder.0",
            "decoder.1",
        ]
        assert {layer.activation for layer in found.encoder + found.decoder} == {foreign.UNKNOWN}
        assert same_function(found, module)


def test_names_are_sorted_by_number_and_split_at_the_narrowest(tmp_path: Path) -> None:
    sizes = [6, 6, 6, 6, 6, 2, 6, 6, 6, 6, 6, 6, 6]
    tensors = {}
    for index, (before, after) in enumerate(zip(sizes, [*sizes[1:], 6], strict=True)):
        tensors[f"net.{index}.weight"] = np.full((after, before), index, np.float32)
    found = foreign.from_tensors(tmp_path / "a.pt", tensors)
    assert [int(found.tensors[f"{layer.name}.weight"][0, 0]) for layer in found.encoder + found.decoder] == list(
        range(13)
    )
    assert found.encoder[-1].outputs == 2
    assert not found.tensors["encoder.0.bias"].any()  # left out in the file


def test_our_own_model_folder_brings_its_activations(tmp_path: Path) -> None:
    model = tiny_model("tanh")
    save_model(tmp_path, model)
    found = foreign.from_safetensors(tmp_path / "model.safetensors")
    assert described(found.encoder + found.decoder) == described(model.layers)
    assert len(found.encoder) == len(model.encoder)


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid"])
@pytest.mark.parametrize("opset", [18, 21])
def test_our_onnx_files_come_back_whole(tmp_path: Path, activation: str, opset: int) -> None:
    model = tiny_model(activation)
    write_onnx(tmp_path, model, opset, compacted=False)
    found = foreign.from_onnx(tmp_path / "autoencoder.onnx")
    assert described(found.encoder + found.decoder) == described(model.layers)
    assert len(found.encoder) == len(model.encoder)
    assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_half_precision_files_of_ours_come_in(tmp_path: Path) -> None:
    model = tiny_model("relu")
    proto = graph.build(graph.chains(model)["autoencoder"], "autoencoder", 18, {}, graph.gemm(graph.half))
    onnx.save(proto, tmp_path / "a.onnx")
    found = foreign.from_onnx(tmp_path / "a.onnx")
    assert found.tensors["encoder.0.weight"] == pytest.approx(model.tensors["encoder.0.weight"], rel=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_what_torch_exports_comes_in(tmp_path: Path, activation: type[nn.Module]) -> None:
    module = Plain(activation).eval()
    torch.onnx.export(
        module, (torch.zeros(2, 12),), tmp_path / "a.onnx", dynamo=True, external_data=False, verbose=False
    )
    found = foreign.from_onnx(tmp_path / "a.onnx")
    assert found.encoder[0].activation == ("relu" if activation is nn.ReLU else "gelu")
    assert found.decoder[-1].activation == "sigmoid"
    assert same_function(found, module)


def chain_graph(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], last: str = "y") -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


DOWN, UP = np.ones((4, 2), np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)
BIAS = np.arange(4, dtype=np.float32)


def test_matmul_and_add_scaled_gemm_and_constants_are_read(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(DOWN))
    nodes = [
        constant,
        helper.make_node("Flatten", ["x"], ["x2"]),
        helper.make_node("MatMul", ["x2", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Dropout", ["r"], ["d"]),
        helper.make_node("Gemm", ["d", "u", "b"], ["y"], transB=1, alpha=2.0, beta=3.0),
    ]
    onnx.save(chain_graph(nodes, {"u": UP.T.copy(), "b": BIAS}), tmp_path / "a.onnx")
    found = foreign.from_onnx(tmp_path / "a.onnx")
    assert [layer.activation for layer in found.encoder + found.decoder] == ["relu", "identity"]
    rows = tiny_rows(3, 4)
    right = 2 * np.maximum(rows @ DOWN, 0) @ UP + 3 * BIAS
    assert reference.run(filled(found.encoder + found.decoder, ["", ""]), found.tensors, rows) == pytest.approx(
        right, rel=1e-5
    )
    nodes[5:] = [helper.make_node("MatMul", ["d", "u"], ["p"]), helper.make_node("Add", ["b", "p"], ["y"])]
    onnx.save(chain_graph(nodes, {"u": UP, "b": BIAS}), tmp_path / "b.onnx")
    found = foreign.from_onnx(tmp_path / "b.onnx")
    assert found.tensors["decoder.0.bias"].tolist() == BIAS.tolist()


def test_biases_of_other_shapes_and_constants_of_other_kinds_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("Gemm", ["x", "w2"], ["h"]),
        helper.make_node("Add", ["h", "c"], ["a"]),
        helper.make_node("Gemm", ["a", "u", "b"], ["y"]),
    ]
    onnx.save(chain_graph(nodes, {"w": DOWN, "u": UP, "b": BIAS[None]}), tmp_path / "a.onnx")
    found = foreign.from_onnx(tmp_path / "a.onnx")
    assert found.tensors["encoder.0.bias"].tolist() == [1, 2]
    assert found.tensors["decoder.0.bias"].tolist() == BIAS.tolist()


def test_bfloat16_comes_in_and_a_config_of_another_program_is_passed_over(tmp_path: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in Plain().state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    found = foreign.from_safetensors(tmp_path / "model.safetensors")
    assert np.array_equal(found.tensors["encoder.0.weight"], state["encoder.0.weight"].float().numpy().T)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(DataError, match="not a regular file"):
        foreign.from_onnx(tmp_path / "a.onnx")


def gemms(**second: object) -> list[onnx.NodeProto]:
    return [helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Gemm", ["h", "u"], ["y"], **second)]


def with_domain(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(helper.make_opsetid("com.evil", 1))


def with_subgraph(proto: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    proto.graph.node.append(helper.make_node("If", ["h"], ["z"], then_branch=inner, else_branch=inner))


def with_function(proto: onnx.ModelProto) -> None:
    proto.functions.append(helper.make_function("", "F", [], [], [], [helper.make_opsetid("", 18)]))


def with_external(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def with_dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = dims

    return change


def with_text_alpha(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].attribute.add(name="alpha", s=b"x", type=onnx.AttributeProto.STRING)


def without_output(proto: onnx.ModelProto) -> None:
    del proto.graph.node[1].output[:]


def with_type(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_type = 99


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_domain, "uses 'com.evil'"),
        (with_subgraph, "holds a graph"),
        (with_function, "uses 'F'"),
        (with_external("/etc/passwd"), "lies in '/etc/passwd'"),
        (with_external("../secret.bin"), "lies in '../secret.bin'"),
        (with_external("none.bin"), "lies in 'none.bin'"),
        (with_external("link.bin"), "lies in 'link.bin'"),
        (with_external("short.bin"), "says it has 8 values"),
        (with_dims(1 << 40, 1 << 40), "says it has"),
        (with_dims(-1, -8), "says it has"),
        (with_dims(0, 1 << 62), "says it has"),
        (with_dims(*[1] * 1000), "says it has"),
        (with_text_alpha, "is not what its format says"),
        (without_output, "nodes that give nothing"),
        (with_type, "unknown type 99"),
    ],
)
def test_hostile_onnx_is_refused_at_once(tmp_path: Path, change: Callable[[onnx.ModelProto], None], said: str) -> None:
    (tmp_path / "short.bin").write_bytes(b"1234")
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    proto = chain_graph(gemms(), {"w": DOWN, "u": UP})
    change(proto)
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.onnx") as caught:
        foreign.from_onnx(tmp_path / "a.onnx")
    assert said in str(caught.value)
    assert time.perf_counter() - began < 5


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    proto = chain_graph(gemms(), {"w": DOWN, "u": UP})
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="a.bin", size_threshold=0)
    assert (tmp_path / "a.bin").exists()
    assert foreign.from_onnx(tmp_path / "a.onnx").tensors["encoder.0.weight"].tolist() == DOWN.tolist()


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([helper.make_node("Relu", ["x"], ["y"])], "stands on no linear layer"),
        ([*gemms()[:1], helper.make_node("Softmax", ["h"], ["y"])], "'y' (Softmax) is no linear layer"),
        ([*gemms()[:1], helper.make_node("LeakyRelu", ["h"], ["y"], alpha=0.3)], "slope 0.3"),
        ([*gemms()[:1], helper.make_node("Gemm", ["x", "w"], ["y"])], "does not follow"),
        ([*gemms(transA=1)], "no product of rows"),
        ([*gemms()[:1], helper.make_node("Identity", ["h"], ["y"])], "goes from 4 to 2 values in 1 layer"),
        ([*gemms(), helper.make_node("Relu", ["y"], ["z"])], "not the end"),
    ],
)
def test_a_graph_that_is_no_chain_is_refused(tmp_path: Path, nodes: list[onnx.NodeProto], said: str) -> None:
    onnx.save(chain_graph(nodes, {"w": DOWN, "u": UP}), tmp_path / "a.onnx")
    with pytest.raises(DataError) as caught:
        foreign.from_onnx(tmp_path / "a.onnx")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a.weight": np.ones((2, 4, 3, 3), np.float32)}, "a.weight has shape"),
        ({"a.weight": DOWN.T, "b.weight": UP.T, "b.running_mean": BIAS}, "b.running_mean is no weight"),
        ({"a.weight": DOWN.T, "b.weight": np.ones((4, 3), np.float32)}, "a.weight gives 2 values, b.weight takes 3"),
        ({"a.weight": DOWN.T, "a.bias": BIAS}, "bias of a.weight"),
        ({"a.weight": np.ones((4, 4), np.float32)}, "goes from 4 to 4 values in 1 layer"),
        ({"a.weight": DOWN.T, "b.weight": UP.T * np.nan}, "not finite"),
        ({"a.weight": DOWN.T.astype(np.int32), "b.weight": UP.T}, "holds int32"),
        ({}, "holds no linear layer"),
    ],
)
def test_tensors_that_are_no_autoencoder_are_refused_by_name(
    tmp_path: Path, tensors: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        foreign.from_tensors(tmp_path / "a.pt", tensors)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 90) + b"{" * 90,
        *(
            struct.pack("<Q", len(header)) + header + b"\0" * 16
            for header in (
                json.dumps({"w": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 16]}}).encode(),
                json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 50]}}).encode(),
                json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]}}).encode(),
            )
        ),
    ],
)
def test_hostile_safetensors_are_refused_at_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.safetensors"):
        foreign.from_safetensors(tmp_path / "a.safetensors")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("data", [b"", b"not onnx at all", b"\x0a\xff\xff\xff\xff\x7f"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.onnx"):
        foreign.from_onnx(tmp_path / "a.onnx")
