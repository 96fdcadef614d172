"""The graph of packed tensors: what runtimes make of it, from which operators, under which names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, compose, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from aecompress.deploy import forms, graph, pack, plain, rebuild
from aecompress.deploy.compact import Chain, chain_of
from aecompress.deploy.graph import PARTS
from aecompress.deploy.grid import Grid
from aecompress.layers.dense import dense
from tests.deploy.models import METADATA, build_all, packed_layer, sparse, tiny_model, tiny_rows, weighted

LEVELS = onnxruntime.GraphOptimizationLevel
OPERATORS = {
    *("Add", "Cast", "Concat", "CumSum", "Div", "Expand", "Gather", "Gemm", "Mod", "Mul", "Reshape"),
    *("ScatterElements", "Split", "Sub"),
}
"""All that a packed file may need; all have been there since opset 13."""


def runner(
    proto: onnx.ModelProto, level: LEVELS = LEVELS.ORT_ENABLE_ALL, keep: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = level
    if keep is not None:
        options.optimized_model_filepath = str(keep)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("values", ["float32", "float16", "int8", "int5", "int4"])
@pytest.mark.parametrize("low", [forms.DENSE, 0, 1, 5])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_every_runtime_rebuilds_a_tensor(values: str, low: int, density: float, tmp_path: Path) -> None:
    weight = sparse((37, 29), density)
    form = forms.encode(weight, values, low)
    proto = packed_layer(weight, form)
    onnx.checker.check_model(proto, full_check=True)
    right = forms.decode(form)
    # The identity reads the weight off, value by value.
    eye = np.eye(37, dtype=np.float32)
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL):
        assert np.array_equal(runner(proto, level).run(None, {"input": eye})[0], right)
    assert np.array_equal(ReferenceEvaluator(proto).run(None, {"input": eye})[0], right)
    keep = tmp_path / "optimised.onnx"
    runner(proto, LEVELS.ORT_ENABLE_BASIC, keep)
    assert [node.op_type for node in onnx.load(keep).graph.node] == ["Gemm"]
    (rebuilt,) = (
        numpy_helper.to_array(t) for t in plain.unpack(proto).graph.initializer if t.name == "encoder.0.weight"
    )
    assert np.array_equal(rebuilt, right)


def mixed() -> tuple[Chain, dict[str, forms.Packed]]:
    """A chain whose tensors are stored in every way at once."""
    layers, packed = [], {}
    ways = [("int4", 3), ("int5", 3), ("int8", 2), ("float16", 0), ("int4", 0), ("int8", forms.DENSE), ("float32", 2)]
    for number, (values, low) in enumerate([*ways, ("int3", forms.DENSE), ("int8", 4)]):
        weight = sparse((20, 20), 1.0 if low == forms.DENSE else 0.2, number)
        weight *= 0.0 if number == 8 else 1.0
        bias = sparse((20,), 1.0 if number % 2 else 0.3, number)
        layers.append(weighted(f"encoder.{number}", weight, bias, "identity"))
        packed[f"encoder.{number}.weight"] = forms.encode(weight, values, low)
        packed[f"encoder.{number}.bias"] = forms.encode(bias, "float16", forms.DENSE if number % 2 else low)
    levels = np.linspace(-1.3, 1.1, 12, dtype=np.float32)  # not float16, and no scale
    rounded = Grid(np.ones(1, np.float16), levels)
    packed["encoder.0.weight"] = forms.encode(layers[0].weight, "", 3, rounded)
    return Chain((20,), tuple(layers)), packed


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_tensors_stored_in_every_way_come_back_from_one_file(opset: int, tmp_path: Path) -> None:
    chain, packed = mixed()
    proto = graph.build(chain, "encoder", opset, {}, product=graph.gemm(pack.stored(packed)))
    onnx.checker.check_model(proto, full_check=True)
    assert {node.op_type for node in proto.graph.node} == OPERATORS
    assert proto.ir_version == onnx.helper.find_min_ir_version_for(proto.opset_import)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.unpack(proto).graph.initializer}
    for name, form in packed.items():
        assert found[name].tobytes() == forms.decode(form).tobytes(), name
    keep = tmp_path / "optimised.onnx"
    runner(proto, LEVELS.ORT_ENABLE_BASIC, keep)
    optimised = onnx.load(keep).graph
    assert {node.op_type for node in optimised.node} == {"Gemm"}
    folded = {tensor.name: numpy_helper.to_array(tensor) for tensor in optimised.initializer}
    assert {name: folded[name].tobytes() for name in packed} == {name: found[name].tobytes() for name in packed}


def test_everything_has_a_name_of_its_part_and_is_stored_once() -> None:
    chain, packed = mixed()
    proto = graph.build(chain, "encoder", 18, {}, product=graph.gemm(pack.stored(packed)))
    names = [node.name for node in proto.graph.node]
    assert all(names) and len(set(names)) == len(names)
    tensors = [tensor.name for tensor in proto.graph.initializer]
    values = {name for node in proto.graph.node for name in node.output} - {"latent"}
    assert all(name.startswith("e") for name in [*names, *tensors, *values] if name != "latent")
    stored = [(tensor.data_type, tuple(tensor.dims), tensor.raw_data) for tensor in proto.graph.initializer]
    assert sum(tensor.data_type == onnx.TensorProto.UINT8 for tensor in proto.graph.initializer) == 2
    assert len(set(stored)) == len(stored)


@pytest.mark.parametrize("way", ["plain", "packed", "scaled"])
@pytest.mark.parametrize("activation", ["gelu", "sigmoid"])
def test_encoder_and_decoder_merge_into_the_autoencoder(way: str, activation: str) -> None:
    model = tiny_model(activation)
    protos = build_all(model, 18, METADATA)
    scaling = graph.Affine(np.full(6, 0.25, np.float32), np.full(6, 2.0, np.float32)) if way == "scaled" else None
    if way != "plain":
        for part, chain in graph.chains(model).items():
            product = graph.gemm(pack.stored(halves(chain)))
            protos[part] = graph.build(chain, part, 18, METADATA, product=product, scaling=scaling)
    both = compose.merge_models(protos["encoder"], protos["decoder"], io_map=[("latent", "latent")])
    onnx.checker.check_model(both, full_check=True)
    rows = tiny_rows(5)
    (whole,) = runner(protos["autoencoder"]).run(None, {"input": rows})
    assert runner(both).run(None, {"input": rows})[0] == pytest.approx(whole, rel=1e-5, abs=1e-6)
    assert set(PARTS) == set(protos)


def halves(chain: Chain) -> dict[str, forms.Packed]:
    tensors = {name: tensor for layer in chain.layers for name, tensor in layer.tensors.items()}
    return {name: forms.encode(tensor, "float16", 1) for name, tensor in tensors.items()}


@pytest.mark.parametrize("width", range(1, 13))
def test_numbers_are_the_sum_of_their_digits(width: int) -> None:
    digits = rebuild.digits_of(width)
    assert [shift for _, shift in digits] == [sum(base for base, _ in digits[:at]) for at in range(len(digits))]
    assert sum(base for base, _ in digits) == width
    assert {base for base, _ in digits} <= {1, 4}


def test_bytes_hold_the_first_digit_in_their_lowest_bits() -> None:
    assert rebuild.in_bytes(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1], np.uint8), 1).tolist() == [0b00001101, 1]
    assert rebuild.in_bytes(np.array([3, 15, 7], np.uint8), 4).tolist() == [0xF3, 0x07]


def test_one_vector_alone_comes_back() -> None:
    bias = np.arange(4, dtype=np.float32)
    tensors = {"encoder.0.weight": np.eye(4, dtype=np.float32), "encoder.0.bias": bias}
    chain = chain_of([dense("encoder.0", 4, 4, "identity")], tensors)
    for low in (forms.DENSE, 0, 1):
        packed: Mapping[str, forms.Packed] = {
            "encoder.0.weight": forms.encode(tensors["encoder.0.weight"], "float32", forms.DENSE),
            "encoder.0.bias": forms.encode(bias, "float16", low),
        }
        proto = graph.build(chain, "encoder", 18, {}, product=graph.gemm(pack.stored(packed)))
        assert np.array_equal(runner(proto).run(None, {"input": np.zeros((1, 4), np.float32)})[0], bias[None])


@pytest.mark.parametrize("low", [0, 3])
def test_sums_are_of_float32_while_it_holds_them_all(low: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO 2025 crashes on sums of integers where it computes in bfloat16."""
    weight = sparse((37, 29), 0.1)
    form, eye = forms.encode(weight, "float32", low), np.eye(37, dtype=np.float32)
    for most, summed in ((weight.size, TensorProto.FLOAT), (weight.size - 1, TensorProto.INT32)):
        monkeypatch.setattr(rebuild, "MOST_EXACT", most)
        proto = packed_layer(weight, form)
        inferred = {v.name: v.type.tensor_type.elem_type for v in shape_inference.infer_shapes(proto).graph.value_info}
        sums = [node for node in proto.graph.node if node.op_type == "CumSum"]
        assert len(sums) == (1 if low == 0 else 2)
        assert {inferred[node.input[0]] for node in sums} == {summed}
        assert np.array_equal(runner(proto).run(None, {"input": eye})[0], weight)
