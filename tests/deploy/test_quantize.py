"""int8 graphs: valid in every opset, near the float model, rows that do not see each other under static ranges.

Packed ones become the same kernels with the same constants.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from aecompress.deploy import graph, grid, quantize
from aecompress.deploy.compact import Chain, run
from aecompress.deploy.evaluator import evaluate
from aecompress.deploy.fingerprint import fingerprint
from aecompress.deploy.plain import unpack
from tests.deploy.models import weighted

each = pytest.mark.parametrize("method", quantize.METHODS)


def chain_like(activation: str = "relu") -> Chain:
    random = np.random.default_rng(0)
    sizes = [(40, 24), (24, 8), (8, 40)]
    ends = [activation, "identity", "sigmoid"]
    return Chain(
        (40,),
        tuple(
            weighted(
                f"layer.{index}",
                (random.normal(size=size) / size[0] ** 0.5).astype(np.float32),
                random.normal(size=size[1]).astype(np.float32) * np.float32(0.1),
                end,
            )
            for index, (size, end) in enumerate(zip(sizes, ends, strict=True))
        ),
    )


ROWS = np.random.default_rng(1).random((300, 40), dtype=np.float32)


def grids_of(chain: Chain, values: str = "int7") -> dict[str, grid.Grid]:
    found = {f"{layer.name}.weight": grid.grid_of(layer.weight, values) for layer in chain.layers}
    return {name: levels for name, levels in found.items() if levels is not None}


def built(chain: Chain, method: str, opset: int = 18) -> onnx.ModelProto:
    product = quantize.product_of(method, quantize.ranges(chain, ROWS), grids_of(chain))
    return graph.build(chain, "autoencoder", opset, {}, product=product)


def output(proto: onnx.ModelProto, rows: np.ndarray, optimised: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return runner.run(None, {"input": rows})[0]


@each
@pytest.mark.parametrize(("activation", "opset"), [("relu", 13), ("leaky-relu", 18), ("tanh", 19), ("gelu", 21)])
def test_an_int8_graph_is_valid_and_near(method: str, activation: str, opset: int) -> None:
    chain = chain_like(activation)
    proto = built(chain, method, opset)
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    assert proto.ir_version == onnx.helper.find_min_ir_version_for(proto.opset_import)
    assert all(node.domain == "" for node in proto.graph.node)
    right = run(chain, ROWS)
    got = output(proto, ROWS)
    assert np.abs(got - right).max() < 0.02
    assert np.square(got - right).mean() < 1e-5
    evaluated = evaluate(proto, "input", ROWS)
    assert np.abs(evaluated.output - got).max() < 0.01
    assert ("is ours" in evaluated.lent) == (method == "static" and opset < 19)


@each
@pytest.mark.parametrize(("values", "few"), [("int7", False), ("whole4", False), ("whole4", True)])
def test_packed_constants_become_the_same_kernels_and_numbers(
    method: str, values: str, few: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = chain_like()
    if few:  # weights as training with rounding leaves them
        layers = [replace(layer, weight=np.round(layer.weight * 20).clip(-7, 7) / 20) for layer in chain.layers]
        chain = replace(chain, layers=tuple(layers))
    monkeypatch.setattr(quantize, "HALVED", 10)  # so that some biases are computed and one is not
    layers = [replace(layer, bias=layer.bias.astype(np.float16).astype(np.float32)) for layer in chain.layers]
    chain = replace(chain, layers=tuple(layers))
    seen, grids = quantize.ranges(chain, ROWS), grids_of(chain, values)
    product = quantize.product_of(method, seen, grids)
    packed_product = quantize.packed_product_of(method, chain, seen, grids)
    whole = graph.build(chain, "autoencoder", 13, {}, product=product)
    packed = graph.build(chain, "autoencoder", 13, {}, product=packed_product)
    assert [node.op_type for node in packed.graph.node].count("Round") == (2 if method == "static" else 0)
    onnx.checker.check_model(packed, full_check=True)
    for name, proto in (("whole", whole), ("packed", packed)):
        got = output(proto, ROWS, tmp_path / f"{name}.onnx")
        np.testing.assert_array_equal(got, output(whole, ROWS))
    graphs = [onnx.load(tmp_path / f"{name}.onnx") for name in ("whole", "packed")]
    assert fingerprint(graphs[0]) == fingerprint(graphs[1])
    kinds = {node.op_type for node in graphs[1].graph.node}
    assert kinds & {"QGemm", "DynamicQuantizeMatMul"} and not kinds & {"DequantizeLinear", "Gemm", "MatMul", "Gather"}
    assert fingerprint(unpack(packed)) == fingerprint(whole)


@each
def test_weights_take_a_byte_each(method: str) -> None:
    proto = built(chain_like(), method)
    kinds = [t.data_type for t in proto.graph.initializer if t.name.endswith(".weight.int8")]
    assert kinds == [onnx.TensorProto.INT8] * 3


def test_a_rows_result_depends_on_the_others_only_under_dynamic_ranges() -> None:
    wide = np.concatenate([ROWS[:1], 100 * ROWS[1:2]])
    alone = {method: output(built(chain_like(), method), ROWS[:1]) for method in quantize.METHODS}
    beside = {method: output(built(chain_like(), method), wide)[:1] for method in quantize.METHODS}
    assert np.array_equal(alone["static"], beside["static"])
    assert not np.array_equal(alone["dynamic"], beside["dynamic"])


def test_ranges_are_those_of_the_chain_and_hold_zero() -> None:
    chain = chain_like()
    seen = quantize.ranges(chain, ROWS + 5)
    first = np.maximum((ROWS + 5) @ chain.layers[0].weight + chain.layers[0].bias, 0)
    assert seen["layer.0"] == (0.0, pytest.approx(float((ROWS + 5).max())))
    assert seen["layer.1"] == (0.0, pytest.approx(float(first.max()), rel=1e-5))
    assert seen["layer.2"][0] < 0 < seen["layer.2"][1]


def test_weights_are_rounded_to_their_outputs_scale() -> None:
    layer = chain_like().layers[0]
    codes, scale = quantize.quantised(layer, grids_of(chain_like()))
    assert (np.abs(codes).max(0) == 64).all()
    assert (np.abs(codes * scale - layer.weight) <= scale * 0.5001).all()
    dead = Chain((3,), (weighted("a", np.zeros((3, 2), np.float32), np.zeros(2, np.float32), "relu"),))
    assert not quantize.quantised(dead.layers[0], grids_of(dead))[0].any()


@each
def test_the_largest_products_do_not_saturate_where_two_are_added_in_sixteen_bits(method: str) -> None:
    largest = np.full((40, 8), 0.5, np.float32)
    chain = Chain((40,), (weighted("layer.0", largest, np.zeros(8, np.float32), "identity"),))
    rows = np.ones((4, 40), np.float32)
    seen = quantize.ranges(chain, rows)
    made = quantize.product_of(method, seen, grids_of(chain))
    got = output(graph.build(chain, "autoencoder", 21, {}, product=made), rows)
    np.testing.assert_allclose(got, np.full((4, 8), 20.0), rtol=0.01)
