"""Models in ONNX graphs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from aecompress.deploy import graph, reference
from aecompress.deploy.pretrained.onnx import reader as onnx_format
from aecompress.errors import DataError
from aecompress.layers.activations import ACTIVATIONS
from tests.deploy.models import build_all, tiny_model, tiny_rows, write_onnx
from tests.deploy.pretrained.modules import Plain, filled, same_function, shapes
from tests.deploy.pretrained.onnx import graphs


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("opset", [18, 21])
def test_our_onnx_files_come_back_whole(tmp_path: Path, activation: str, opset: int) -> None:
    model = tiny_model(activation)
    write_onnx(tmp_path, model, opset, compacted=False)
    pretrained = onnx_format.read(tmp_path / "autoencoder.onnx")
    assert shapes(pretrained) == shapes(model)
    assert all(np.array_equal(pretrained.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_half_precision_files_of_ours_come_in(tmp_path: Path) -> None:
    model = tiny_model("relu")
    proto = graph.build(graph.chains(model)["autoencoder"], "autoencoder", 18, {}, product=graph.gemm(graph.half))
    onnx.save(proto, tmp_path / "a.onnx")
    pretrained = onnx_format.read(tmp_path / "a.onnx")
    assert pretrained.tensors["encoder.0.weight"] == pytest.approx(model.tensors["encoder.0.weight"], rel=1e-3)


@pytest.mark.parametrize("activation", ["leaky-relu:0.2", "elu", "selu", "relu6", "softplus", "softsign", "mish"])
def test_activations_come_back_from_files_of_ours(tmp_path: Path, activation: str) -> None:
    model = tiny_model(activation)
    onnx.save(build_all(model, 18, {}, compacted=False)["autoencoder"], tmp_path / "a.onnx")
    assert [layer.activation for layer in onnx_format.read(tmp_path / "a.onnx").encoder] == [activation, activation]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_what_torch_exports_comes_in(tmp_path: Path, activation: type[nn.Module]) -> None:
    module = Plain(activation).eval()
    torch.onnx.export(
        module, (torch.zeros(2, 12),), tmp_path / "a.onnx", dynamo=True, external_data=False, verbose=False
    )
    pretrained = onnx_format.read(tmp_path / "a.onnx")
    assert pretrained.encoder[0].activation == ("relu" if activation is nn.ReLU else "gelu")
    assert pretrained.decoder[-1].activation == "sigmoid"
    assert same_function(pretrained, module)


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
    pretrained = onnx_format.read(tmp_path / "a.onnx")
    assert [layer.activation for layer in pretrained.encoder + pretrained.decoder] == ["relu", "identity"]
    rows = tiny_rows(3, 4)
    right = 2 * np.maximum(rows @ DOWN, 0) @ UP + 3 * BIAS
    assert reference.run(filled(pretrained), pretrained.tensors, rows) == pytest.approx(right, rel=1e-5)
    nodes[5:] = [helper.make_node("MatMul", ["d", "u"], ["p"]), helper.make_node("Add", ["b", "p"], ["y"])]
    onnx.save(chain_graph(nodes, {"u": UP, "b": BIAS}), tmp_path / "b.onnx")
    pretrained = onnx_format.read(tmp_path / "b.onnx")
    assert pretrained.tensors["decoder.0.bias"].tolist() == BIAS.tolist()


def test_biases_of_other_shapes_and_constants_of_other_kinds_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("Gemm", ["x", "w2"], ["h"]),
        helper.make_node("Add", ["h", "c"], ["a"]),
        helper.make_node("Gemm", ["a", "u", "b"], ["y"]),
    ]
    onnx.save(chain_graph(nodes, {"w": DOWN, "u": UP, "b": BIAS[None]}), tmp_path / "a.onnx")
    pretrained = onnx_format.read(tmp_path / "a.onnx")
    assert pretrained.tensors["encoder.0.bias"].tolist() == [1, 2]
    assert pretrained.tensors["decoder.0.bias"].tolist() == BIAS.tolist()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(DataError, match="not a regular file"):
        onnx_format.read(tmp_path / "a.onnx")


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
    ("change", "message"),
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
        (with_text_alpha, "does not follow the ONNX format"),
        (without_output, "nodes without output"),
        (with_type, "unknown type 99"),
    ],
)
def test_hostile_onnx_is_refused_at_once(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    (tmp_path / "short.bin").write_bytes(b"1234")
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    proto = chain_graph(gemms(), {"w": DOWN, "u": UP})
    change(proto)
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.onnx") as caught:
        onnx_format.read(tmp_path / "a.onnx")
    assert message in str(caught.value)
    assert time.perf_counter() - began < 5


def test_no_byte_of_a_name_gives_a_traceback(tmp_path: Path) -> None:
    """Each byte in turn is one that ends no UTF-8 text; values of weights are read with it."""
    nodes = [helper.make_node("Relu", ["b"], ["bias"], "rectify"), helper.make_node("Gemm", ["x", "w", "bias"], ["h"])]
    proto = chain_graph([*nodes, *gemms()[1:]], {"b": np.zeros(2, np.float32), "w": DOWN, "u": UP})
    proto.metadata_props.add(key="made by", value="a stranger")
    data, refused = proto.SerializeToString(), 0
    for at in range(len(data)):
        (tmp_path / "a.onnx").write_bytes(data[:at] + b"\xe9" + data[at + 1 :])
        try:
            onnx_format.read(tmp_path / "a.onnx")
        except DataError as fault:
            refused += "which is not UTF-8" in str(fault)
    assert refused > 20


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    proto = chain_graph(gemms(), {"w": DOWN, "u": UP})
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="a.bin", size_threshold=0)
    assert (tmp_path / "a.bin").exists()
    assert onnx_format.read(tmp_path / "a.onnx").tensors["encoder.0.weight"].tolist() == DOWN.tolist()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Relu", ["x"], ["y"])], "holds no linear layer"),
        ([*gemms()[:1], helper.make_node("Softmax", ["h"], ["y"])], "'y' (Softmax) no activation here is a softmax"),
        ([*gemms()[:1], helper.make_node("Gemm", ["h", "w"], ["y"])], "multiplies 2 values with a matrix of 4 rows"),
        ([*gemms()[:1], helper.make_node("Gemm", ["z", "w"], ["y"])], "reads 'z', which no node gives"),
        ([*gemms()[:1], helper.make_node("LeakyRelu", ["h"], ["y"], alpha=-0.3)], "(LeakyRelu) is no known activation"),
        ([*gemms()[:1], helper.make_node("Elu", ["h"], ["y"], alpha=0.5)], "(Elu) is no known activation"),
        ([*gemms()[:1], helper.make_node("Clip", ["h"], ["y"])], "goes from 4 to 2 values in 1 layer"),
        ([*gemms(transA=1)], "not a product of rows"),
        ([*gemms()[:1], helper.make_node("Identity", ["h"], ["y"])], "goes from 4 to 2 values in 1 layer"),
        ([*gemms()[:1], helper.make_node("Relu", ["w"], ["y"])], "computes weights in a way"),
        ([*gemms(), helper.make_node("Mul", ["y", "x"], ["y2"]), helper.make_node("Relu", ["y2"], ["z"])], None),
    ],
)
def test_a_graph_that_is_not_a_chain_is_refused(
    tmp_path: Path, nodes: list[onnx.NodeProto], message: str | None
) -> None:
    last = "y" if message is not None else "z"
    onnx.save(chain_graph(nodes, {"w": DOWN, "u": UP}, last), tmp_path / "a.onnx")
    with pytest.raises(DataError) as caught:
        onnx_format.read(tmp_path / "a.onnx")
    assert (message or "node 'y2' (Mul) joins branches of the graph by Mul") in str(caught.value)


def test_what_the_output_does_not_need_may_be_anything(tmp_path: Path) -> None:
    nodes = [*gemms(), helper.make_node("Softmax", ["h"], ["z"])]
    onnx.save(chain_graph(nodes, {"w": DOWN, "u": UP}), tmp_path / "a.onnx")
    assert len(onnx_format.read(tmp_path / "a.onnx").encoder) == 1


@pytest.mark.parametrize("data", [b"", b"not onnx at all", b"\x0a\xff\xff\xff\xff\x7f"])
def test_what_is_not_onnx_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.onnx"):
        onnx_format.read(tmp_path / "a.onnx")


EXPECTED = {
    "keras-bn": "linear affine affine affine affine relu",
    "keras-normalization": "affine affine linear affine relu",
    "keras-conv1d": "permute conv1d affine relu conv1d affine relu conv1d-transpose affine relu conv1d-transpose",
    "keras-bilinear": "permute conv2d affine relu max-pool upsample conv2d affine permute",
    "keras-flatten": "flatten linear",
    "keras-global": "permute conv2d affine relu global-avg-pool linear",
    "keras-depthwise": "permute conv2d affine conv2d affine relu conv2d conv2d affine conv2d affine permute",
    "keras-upsampling": "permute conv1d affine relu max-pool conv1d affine relu upsample conv1d affine permute",
    "tf2onnx-bn": "linear affine affine affine relu",
    "tf2onnx-conv2d": "permute conv2d relu conv2d relu flatten linear affine linear affine relu reshape",
    "tf2onnx-conv1d": "permute conv1d affine relu conv1d affine relu conv1d-transpose affine relu conv1d-transpose",
    "tf2onnx-pools": "permute conv2d relu max-pool conv2d affine affine relu avg-pool upsample conv2d relu upsample",
    "skl2onnx-scaler": "affine linear affine relu",
    "skl2onnx-float64": "affine affine linear affine relu",
    "torch-conv2d": "conv2d relu conv2d relu flatten linear linear relu reshape conv2d-transpose relu conv2d-transpose",
    "torch-pools": "conv2d relu max-pool conv2d relu affine avg-pool upsample conv2d relu upsample conv2d",
    "torch-lstm": "lstm repeat lstm linear affine",
    "torch-gru": "gru repeat gru linear affine",
    "dynamo-view": "flatten linear relu linear linear relu linear reshape",
    "keras-prelu": "linear affine prelu linear affine leaky-relu:0.2 linear affine relu6 linear affine",
    "torch-activations": "linear gelu linear silu linear softplus linear mish linear hard-swish linear elu linear selu",
    "dynamo-bn": "linear relu linear relu affine linear tanh linear",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_exporters_write_is_followed(name: str) -> None:
    path = graphs.FILES / f"{name}.onnx"
    steps = onnx_format.followed(path).steps
    assert graphs.ops(steps).startswith(EXPECTED[name])
    assert graphs.differences(path, steps) < 1e-5


def test_of_several_outputs_the_reconstruction_is_taken_without_noise() -> None:
    found = onnx_format.followed(graphs.FILES / "torch-vae.onnx")
    assert graphs.ops(found.steps) == "linear relu linear linear relu linear"
    assert found.notes == (
        "of its 3 outputs 23 is the reconstruction",
        "it draws noise, which is left out: the mean is taken",
    )


def test_a_residual_addition_is_a_chain_of_layers_that_carry_it() -> None:
    path = graphs.FILES / "torch-residual.onnx"
    steps = onnx_format.followed(path).steps
    assert graphs.ops(steps) == "linear linear relu linear"
    assert graphs.differences(path, steps) < 1e-5


def test_a_residual_addition_that_no_layer_can_carry_is_named(tmp_path: Path) -> None:
    nodes = [graphs.node("MatMul", "x w", "h"), graphs.node("Tanh", "h", "t"), graphs.node("Add", "x t", "y")]
    made = graphs.graph(nodes, (4,), {"w": graphs.drawn(4, 4)})
    (tmp_path / "a.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(DataError, match=r"node 'Add y' \(Add\) is a residual addition that has the activation tanh"):
        onnx_format.followed(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        ([("Expand", "x s", "y")], {"s": [1 << 30, 1, 1]}, "values, more than are read"),
        ([("Tile", "x s", "y")], {"s": [1 << 20, 1 << 20]}, "values, more than are read"),
        (
            [("Shape", "x", "s"), ("Mul", "s k", "t"), ("ConstantOfShape", "t", "y")],
            {"k": [1 << 30, 1 << 30]},
            "values, more",
        ),
        ([("Pad", "x p", "y")], {"p": [0, 0, 0, 1 << 40]}, "values, more than are read"),
        ([("Add", "x w", "y")], {"w": np.zeros((1 << 19, 1, 1)).tolist()}, "values, more than are read"),
        ([("Gather", "x i", "y")], {"i": [99]}, "does not follow the ONNX format"),
        ([("Reshape", "x s", "y")], {"s": [7, -1]}, "does not follow the ONNX format"),
    ],
)
def test_a_graph_that_would_take_much_memory_is_refused_at_once(
    tmp_path: Path, nodes: list[tuple[str, str, str]], weights: dict[str, list[int]], message: str
) -> None:
    made = graphs.graph(
        [graphs.node(*each) for each in nodes], (64,), {name: np.array(value) for name, value in weights.items()}
    )
    (tmp_path / "a.onnx").write_bytes(made.SerializeToString())
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.onnx") as caught:
        onnx_format.read(tmp_path / "a.onnx")
    assert message in str(caught.value)
    assert time.perf_counter() - began < 5


def test_sizes_that_a_graph_leaves_open_are_those_of_the_rows(tmp_path: Path) -> None:
    proto = chain_graph(gemms(), {"w": DOWN, "u": UP})
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    assert onnx_format.read(tmp_path / "a.onnx", (4,)).inputs == 4
    with pytest.raises(DataError, match="x leaves the size of a row open"):
        onnx_format.read(tmp_path / "a.onnx")
