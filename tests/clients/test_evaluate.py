"""The NumPy form of a graph, against the reference of the model; every form of a tensor in operators that are common."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest

from aecompress.deploy import graph, pack, reference
from aecompress.layers.activations import ACTIVATIONS
from aecompress.registry import VARIANTS
from tests.clients.evaluate import OPERATORS, evaluate
from tests.clients.files import OPSETS, one_layer
from tests.deploy.models import build_all, tiny_model, tiny_rows

ODD = {"NonZero", "DequantizeLinear"}
"""Operators that onnxruntime does not fold."""


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("opset", [13, 20])
def test_a_plain_graph_gives_what_the_reference_gives(activation: str, opset: int) -> None:
    model, rows = tiny_model(activation), tiny_rows()
    files = build_all(model, opset, {})
    latent, whole = reference.reconstruct(model, rows)
    np.testing.assert_allclose(evaluate(files["encoder"], rows), latent, atol=1e-5)
    np.testing.assert_allclose(evaluate(files["autoencoder"], rows), whole, atol=1e-5)


@pytest.mark.parametrize(("index", "values"), [*product(pack.INDEXES, pack.VALUES)])
def test_a_packed_weight_is_decoded_by_operators_that_clients_have(index: str, values: str) -> None:
    draws = np.random.default_rng(0)
    weight = draws.normal(size=(7, 9)).astype(np.float32)
    if index != "dense":
        weight *= draws.random(weight.shape) < 0.3
    form, rows = pack.encode(weight, index, values), draws.random((3, 7), np.float32)
    for opset in (opset for opset in OPSETS if opset >= VARIANTS["packed"].opset):
        proto = one_layer(weight, form, opset)
        onnx.checker.check_model(proto, full_check=True)
        assert {node.op_type for node in proto.graph.node} <= {"Cast", *OPERATORS} - ODD
        np.testing.assert_allclose(evaluate(proto, rows), rows @ pack.decode(form), atol=1e-5)


def test_quantized_values_are_whole_steps_within_their_limits() -> None:
    draft = graph.Draft(13)
    pair = [draft.keep("scale", np.array(0.5, np.float32)), draft.keep("zero", np.array(3, np.uint8))]
    draft.add("DequantizeLinear", [draft.add("QuantizeLinear", ["x", *pair], "q"), *pair], "y")
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            draft.nodes,
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, ["n"])],
            [onnx.helper.make_tensor_value_info("y", 1, ["n"])],
            list(draft.initializers.values()),
        )
    )
    given, right = [-9.0, -1.5, 0.24, 0.26, 0.75, 1.25, 200.0], [-1.5, -1.5, 0.0, 0.5, 1.0, 1.0, 126.0]
    assert evaluate(model, np.array(given, np.float32)).tolist() == right
