"""The NumPy form of a graph, against the reference of the model and against what packed tensors stand for."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from aecompress.deploy import reference
from aecompress.deploy.forms import DENSE, decode, encode
from aecompress.deploy.grid import VALUES
from aecompress.layers.activations import ACTIVATIONS
from tests.clients.evaluate import evaluate
from tests.clients.files import LOWS, OPSETS, one_layer
from tests.deploy.models import build_all, tiny_model, tiny_rows


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("opset", [13, 20])
def test_a_plain_graph_gives_what_the_reference_gives(activation: str, opset: int) -> None:
    model, rows = tiny_model(activation), tiny_rows()
    files = build_all(model, opset, {})
    latent, whole = reference.reconstruct(model, rows)
    np.testing.assert_allclose(evaluate(files["encoder"], rows), latent, atol=1e-5)
    np.testing.assert_allclose(evaluate(files["autoencoder"], rows), whole, atol=1e-5)


@pytest.mark.parametrize(("low", "values"), [*product(LOWS, VALUES)])
def test_a_packed_weight_is_what_it_stands_for(low: int, values: str) -> None:
    draws = np.random.default_rng(0)
    weight = draws.normal(size=(7, 9)).astype(np.float32)
    if low != DENSE:
        weight *= draws.random(weight.shape) < 0.3
    form, rows = encode(weight, values, low), draws.random((3, 7), np.float32)
    for opset in OPSETS:
        proto = one_layer(form, opset)
        onnx.checker.check_model(proto, full_check=True)
        np.testing.assert_allclose(evaluate(proto, rows), rows @ decode(form), atol=1e-5)


def test_quantized_values_are_whole_steps_within_their_limits() -> None:
    pair = [numpy_helper.from_array(np.array(0.5, np.float32), "s"), numpy_helper.from_array(np.array(3, "u1"), "z")]
    nodes = [helper.make_node("QuantizeLinear", "xsz", "q"), helper.make_node("DequantizeLinear", "qsz", "y")]
    ends = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"])] for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", *ends, pair))
    given, right = [-9.0, -1.5, 0.24, 0.26, 0.75, 1.25, 200.0], [-1.5, -1.5, 0.0, 0.5, 1.0, 1.0, 126.0]
    assert evaluate(model, np.array(given, np.float32)).tolist() == right
