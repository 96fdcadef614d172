"""onnx's evaluator, with the operator that it lacks below opset 19."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from aecompress.deploy.evaluator import evaluate

ROWS = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)


def dequantizing(opset: int, kind: str, axis: int | None) -> onnx.ModelProto:
    """A model that quantizes rows ``[5, 3]``, dequantizes them, and adds what a constant ``[5, 3]`` dequantizes to."""
    random = np.random.default_rng(1)
    scale = (random.uniform(0.01, 0.1, () if axis is None else (5, 3)[axis])).astype(np.float32)
    middle = {"int8": -5, "uint8": 120, "int32": 0}[kind]
    arrays = {
        "scale": np.float32(0.01),
        "zero": np.uint8(128),
        "whole": random.integers(middle - 90, middle + 90, (5, 3)).astype(kind),
        "scales": scale,
        "zeros": np.full(scale.shape, middle, kind),
    }
    along = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["whole", "scales", "zeros"], ["w"], **along),
        helper.make_node("Add", ["x", "w"], ["output"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, 3]) for name in ("input", "output")]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_what_is_lent_gives_the_bits_of_onnxs_own(kind: str, axis: int | None) -> None:
    own, lent = (evaluate(dequantizing(opset, kind, axis), "input", ROWS) for opset in (19, 13))
    assert own.lent == "" and lent.lent == "DequantizeLinear, which it lacks below opset 19, is ours"
    np.testing.assert_array_equal(own.output, lent.output)


@pytest.mark.parametrize("group", [1, 2])
def test_a_transposed_convolution_is_that_of_torch(group: int) -> None:
    torch.manual_seed(0)
    module = torch.nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 0), group, True, (1, 2))
    rows = torch.randn(3, 4, 5, 4)
    numbers = {"strides": [2, 1], "pads": [1, 0, 1, 0], "output_padding": [1, 0], "dilations": [1, 2], "group": group}
    node = helper.make_node("ConvTranspose", ["input", "w", "b"], ["output"], **numbers)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("input", "output")]
    stored = [numpy_helper.from_array(t.detach().numpy(), n) for n, t in zip("wb", module.parameters(), strict=True)]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], stored))
    found = evaluate(model, "input", rows.numpy())
    np.testing.assert_allclose(found.output, module(rows).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert found.lent == "ConvTranspose, which it computes wrongly in groups, is ours"


def test_what_it_cannot_evaluate_is_said_in_words() -> None:
    model = dequantizing(19, "int8", 1)
    model.graph.node[0].op_type = "NoSuchOperator"
    found = evaluate(model, "input", ROWS)
    assert isinstance(found.output, str) and "NoSuchOperator" in found.output and found.lent == ""
