"""Operators with weights or windows: onnxruntime is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from aecompress.deploy.pretrained.onnx import reader
from aecompress.errors import DataError
from tests.deploy.pretrained.onnx.graphs import drawn, graph, node, ops, same_steps

IMAGE, SERIES, ROW = (2, 7, 6), (2, 9), (6,)
CUBE, BACK, LINE = drawn(4, 2, 3, 3), drawn(2, 4, 3, 3), drawn(4, 2, 3)


@pytest.mark.parametrize(
    ("made", "shape", "weights"),
    [
        (node("Conv", "x w b", "y", pads=[1, 0, 2, 1], strides=[2, 2]), IMAGE, {"w": CUBE, "b": drawn(4)}),
        (node("Conv", "x w", "y", pads=[0, 0, 1, 1], strides=[2, 2]), IMAGE, {"w": CUBE}),
        (node("Conv", "x w", "y", pads=[2, 2, 0, 0], strides=[1, 1]), IMAGE, {"w": CUBE}),
        (node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2]), IMAGE, {"w": CUBE}),
        (node("Conv", "x w", "y", auto_pad="SAME_LOWER", strides=[3, 2]), IMAGE, {"w": CUBE}),
        (node("Conv", "x w", "y", auto_pad="VALID"), IMAGE, {"w": CUBE}),
        (node("Conv", "x w", "y", group=2, dilations=[2, 1], pads=[2, 1, 2, 1]), IMAGE, {"w": drawn(4, 1, 3, 3)}),
        (node("Conv", "x w", "y", pads=[0, 2], dilations=[2]), SERIES, {"w": LINE}),
        (node("ConvTranspose", "x w", "y", strides=[2, 2], pads=[0, 0, 1, 1]), IMAGE, {"w": BACK}),
        (node("ConvTranspose", "x w", "y", strides=[2, 2], pads=[1, 2, 0, 0]), IMAGE, {"w": BACK}),
        (node("ConvTranspose", "x w", "y", strides=[2, 2], output_padding=[1, 0]), IMAGE, {"w": BACK}),
        (node("ConvTranspose", "x w", "y", strides=[3, 2], auto_pad="SAME_UPPER"), IMAGE, {"w": BACK}),
        (node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[14, 12]), IMAGE, {"w": BACK}),
        (node("ConvTranspose", "x w", "y", strides=[2], group=2, pads=[1, 1]), SERIES, {"w": drawn(2, 3, 4)}),
        (node("MaxPool", "x", "y", kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 0, 1]), IMAGE, {}),
        (node("MaxPool", "x", "y", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), IMAGE, {}),
        (node("AveragePool", "x", "y", kernel_shape=[2], strides=[2]), SERIES, {}),
        (node("AveragePool", "x", "y", kernel_shape=[3], pads=[1, 1], count_include_pad=1), SERIES, {}),
        (node("GlobalAveragePool", "x", "y"), IMAGE, {}),
        (node("GlobalMaxPool", "x", "y"), SERIES, {}),
        (node("ReduceMean", "x axes", "y", keepdims=0), IMAGE, {"axes": np.array([2, 3])}),
        (node("ReduceMax", "x", "y", axes=[2]), SERIES, {}),
        (node("BatchNormalization", "x a b c d", "y"), IMAGE, {key: np.abs(drawn(2)) + 1 for key in "abcd"}),
        (node("Scaler", "x", "y", offset=[1.0] * 6, scale=[0.5, 2.0] * 3), ROW, {}),
        (node("PRelu", "x w", "y"), IMAGE, {"w": drawn(2, 1, 1)}),
        (node("Resize", "x - s", "y", mode="nearest"), IMAGE, {"s": np.float32([1, 1, 2, 3])}),
        (node("Resize", "x - - s", "y", mode="linear"), IMAGE, {"s": np.array([5, 2, 14, 12])}),
        (node("MatMul", "x w", "y"), IMAGE, {"w": drawn(6, 4)}),
        (node("Gemm", "x w b", "y", transB=1, alpha=2.0, beta=3.0), ROW, {"w": drawn(4, 6), "b": drawn(1, 4)}),
    ],
    ids=lambda each: each.op_type if isinstance(each, NodeProto) else None,
)
def test_an_operator_is_what_onnxruntime_computes(
    tmp_path: Path, made: NodeProto, shape: tuple[int, ...], weights: dict[str, np.ndarray]
) -> None:
    proto = graph([made], shape, weights, 17 if made.op_type == "ReduceMax" else 18)
    if made.op_type == "Resize":  # its sizes name the batch
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
    assert same_steps(tmp_path, proto)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("end", ["every", "last", "state"])
def test_recurrent_layers_have_torchs_gates(tmp_path: Path, kind: str, end: str) -> None:
    gates = {"LSTM": 4, "GRU": 3}[kind] * 5
    numbers = {"hidden_size": 5} | ({"linear_before_reset": 1} if kind == "GRU" else {})
    weights = {"w": drawn(1, gates, 3), "r": drawn(1, gates, 5), "b": drawn(1, 2 * gates)}
    weights |= {"one": np.array([1]), "none": np.array([0]), "minus": np.array([-1]), "end": np.array([1 << 40])}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node(kind, "t w r b", "all last", **numbers)]
    nodes += {
        "every": [node("Squeeze", "all one", "s"), node("Transpose", "s", "y", perm=[1, 0, 2])],
        "last": [node("Squeeze", "last none", "y")],
        "state": [node("Slice", "all minus end none", "s"), node("Reshape", "s shape", "y")],
    }[end]
    steps = same_steps(tmp_path, graph(nodes, (4, 3), weights | {"shape": np.array([-1, 5])}))
    assert ops(steps) == kind.lower()
    assert steps[0].numbers["sequences"] is (end == "every")


def test_ends_that_are_cut_off_a_transposed_convolution_are_its_padding(tmp_path: Path) -> None:
    weights = {"w": BACK, "b": drawn(1, 1, 1, 4), "one": np.array([1, 1]), "end": np.array([-1, -1])}
    nodes = [
        node("ConvTranspose", "x w", "c", strides=[2, 2]),
        node("Slice", "c one end axes", "s"),
        node("Transpose", "s", "t", perm=[0, 2, 3, 1]),
        node("Add", "t b", "y"),
    ]
    steps = same_steps(tmp_path, graph(nodes, IMAGE, weights | {"axes": np.array([2, 3])}))
    assert ops(steps) == "conv2d-transpose affine permute"
    assert (steps[0].numbers["padding"], steps[0].numbers["output_padding"]) == ((1, 1), (0, 0))


def test_padding_goes_into_the_layer_behind_it(tmp_path: Path) -> None:
    low = np.float32(-np.inf)
    weights = {
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "w": CUBE,
        "low": np.array(low),
        "q": np.array([0, 0, 1, 1] * 2),
    }
    nodes = [
        node("Pad", "x p", "a"),
        node("Conv", "a w", "b", pads=[0, 0, 0, 1]),
        node("Pad", "b q low", "c"),
        node("MaxPool", "c", "y", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    assert ops(same_steps(tmp_path, graph(nodes, IMAGE, weights))) == "conv2d max-pool"


def test_a_dense_layer_at_each_place_is_a_convolution_or_linear(tmp_path: Path) -> None:
    weights = {"w": drawn(4, 3), "k": drawn(4, 2, 1)}
    nodes = [node("Conv", "x k", "c"), node("Transpose", "c", "t", perm=[0, 2, 1]), node("MatMul", "t w", "y")]
    assert ops(same_steps(tmp_path, graph(nodes, SERIES, weights))) == "conv1d conv1d permute"
    assert ops(same_steps(tmp_path, graph([node("MatMul", "x w", "y")], (9, 4), weights))) == "linear"


@pytest.mark.parametrize(
    ("made", "shape", "weights", "why"),
    [
        (node("LSTM", "x w w", "y", direction="reverse", hidden_size=1), (4, 3), {"w": drawn(1, 4, 1)}, "backwards"),
        (node("GRU", "x w w", "y", hidden_size=1), (4, 3), {"w": drawn(1, 3, 1)}, "use reset_after=True"),
        (node("Conv", "x w", "y"), IMAGE, {"w": drawn(4, 3, 3, 3)}, "is given 2 channels, its weights take 3"),
        (node("Conv", "x w", "y", strides=[0, 1]), IMAGE, {"w": CUBE}, "stride or dilation below 1"),
        (node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[0, 0, 1, 1]), IMAGE, {}, "pads one side more"),
        (node("MatMul", "x x", "y"), ROW, {}, "is not a product of rows with a stored matrix"),
        (node("MatMul", "x w", "y"), ROW, {"w": drawn(5, 6)}, "multiplies 6 values with a matrix of 5 rows"),
        (node("Cast", "x", "y", to=7), ROW, {}, "makes whole numbers of values"),
        (node("Resize", "x - s", "y", mode="cubic"), IMAGE, {"s": np.float32([1, 1, 2, 2])}, "by 'cubic'"),
        (node("LayerNormalization", "x w", "y"), ROW, {"w": drawn(6)}, "use BatchNorm"),
        (node("Softmax", "x", "y"), ROW, {}, "end with linear outputs or a sigmoid"),
    ],
)
def test_what_is_no_layer_is_refused_with_what_helps(
    tmp_path: Path, made: NodeProto, shape: tuple[int, ...], weights: dict[str, np.ndarray], why: str
) -> None:
    (tmp_path / "a.onnx").write_bytes(graph([made], shape, weights).SerializeToString())
    with pytest.raises(DataError, match=rf"a\.onnx: node '{made.op_type} y' \({made.op_type}\) ") as caught:
        reader.followed(tmp_path / "a.onnx")
    assert why in str(caught.value)
