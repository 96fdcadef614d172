"""ONNX graphs: valid, equal to the reference, whole in one file, and the same bytes every time."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from aecompress.deploy import graph, reference
from aecompress.deploy.compact import chain_of
from aecompress.layers.names import NAMES
from tests.deploy.models import INPUTS, LATENT, METADATA, build_all, chain, tiny_model, tiny_rows, write_onnx

ACTIVATIONS = NAMES
OPSETS = (13, 18, 20, 21)
ENDS = {
    "encoder": ("input", INPUTS, "latent", LATENT),
    "decoder": ("latent", LATENT, "reconstruction", INPUTS),
    "autoencoder": ("input", INPUTS, "reconstruction", INPUTS),
}
each_graph = pytest.mark.parametrize(
    ("activation", "opset"),
    [(activation, OPSETS[(at + turn) % 4]) for at, activation in enumerate(ACTIVATIONS) for turn in (0, 2)],
)  # every activation at each opset: tests/layers/test_activations.py


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@each_graph
def test_a_graph_is_valid_and_says_its_opset(activation: str, opset: int) -> None:
    protos = build_all(tiny_model(activation), opset, METADATA)
    assert tuple(protos) == tuple(graph.PARTS) == tuple(ENDS)
    for proto in protos.values():
        onnx.checker.check_model(proto, full_check=True)
        assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
        assert proto.ir_version == onnx.helper.find_min_ir_version_for(proto.opset_import)
        assert proto.producer_name == "aecompress"


@each_graph
def test_onnxruntime_computes_what_the_reference_computes_at_any_batch(activation: str, opset: int) -> None:
    model, rows = tiny_model(activation), tiny_rows(7)
    latent, reconstruction = reference.reconstruct(model, rows)
    feeds = {"encoder": rows, "decoder": latent.astype(np.float32), "autoencoder": rows}
    expected = {"encoder": latent, "decoder": reconstruction, "autoencoder": reconstruction}
    for part, proto in build_all(model, opset, METADATA).items():
        runner = session(proto)
        for batch in (1, 7):
            (got,) = runner.run(None, {ENDS[part][0]: feeds[part][:batch]})
            assert got.dtype == np.float32
            assert got == pytest.approx(expected[part][:batch], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("part", ENDS)
def test_inputs_and_outputs_have_their_names_and_a_dynamic_batch(part: str) -> None:
    proto = build_all(tiny_model(), 18, METADATA)[part]
    runner = session(proto)
    source, width, result, out = ENDS[part]
    assert [(node.name, node.shape, node.type) for node in runner.get_inputs()] == [
        (source, ["batch", width], "tensor(float)")
    ]
    assert [(node.name, node.shape, node.type) for node in runner.get_outputs()] == [
        (result, ["batch", out], "tensor(float)")
    ]
    assert proto.graph.name == part


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_lie_in_the_file_under_torchs_names_without_a_transpose(activation: str) -> None:
    model = tiny_model(activation)
    proto = build_all(model, 18, METADATA, compacted=False)["autoencoder"]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for name, tensor in model.tensors.items():
        assert stored[name].dtype == np.float32
        assert stored[name].tobytes() == np.ascontiguousarray(tensor).tobytes()
    gemms = [node for node in proto.graph.node if node.op_type == "Gemm"]
    assert [node.name for node in gemms] == [layer.name for layer in model.layers]
    assert all(not node.attribute for node in gemms)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_file_is_whole_in_itself(activation: str) -> None:
    for proto in build_all(tiny_model(activation), 13, METADATA).values():
        known = {value.name for value in (*proto.graph.input, *proto.graph.initializer)}
        for node in proto.graph.node:
            assert node.domain == ""
            assert set(node.input) <= known
            known |= set(node.output)
        for tensor in proto.graph.initializer:
            assert tensor.data_location == onnx.TensorProto.DEFAULT
            assert not tensor.external_data


@pytest.mark.parametrize(
    ("activation", "opset", "operators"),
    [
        ("identity", 18, ["Gemm"]),
        ("relu", 18, ["Gemm", "Relu"]),
        ("leaky-relu", 18, ["Gemm", "LeakyRelu"]),
        ("tanh", 18, ["Gemm", "Tanh"]),
        ("sigmoid", 18, ["Gemm", "Sigmoid"]),
        ("gelu", 19, ["Gemm", "Mul", "Erf", "Add", "Mul", "Mul"]),
        ("gelu", 20, ["Gemm", "Gelu"]),
        ("leaky-relu:0.2", 18, ["Gemm", "LeakyRelu"]),
        ("elu", 13, ["Gemm", "Elu"]),
        ("relu6", 13, ["Gemm", "Clip"]),
        ("silu", 24, ["Gemm", "Sigmoid", "Mul"]),
        ("mish", 17, ["Gemm", "Softplus", "Tanh", "Mul"]),
        ("mish", 18, ["Gemm", "Mish"]),
        ("hard-swish", 13, ["Gemm", "HardSigmoid", "Mul"]),
        ("hard-swish", 14, ["Gemm", "HardSwish"]),
    ],
)
def test_a_layer_is_a_gemm_and_its_activation(activation: str, opset: int, operators: list[str]) -> None:
    model = tiny_model(activation)
    proto = build_all(model, opset, METADATA, compacted=False)["autoencoder"]
    assert [node.op_type for node in proto.graph.node] == operators * len(model.layers)
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)


def test_layers_may_each_have_their_own_activation() -> None:
    layers = tuple(
        chain("encoder", (4,) * (len(ACTIVATIONS) + 1), activation)[index]
        for index, activation in enumerate(ACTIVATIONS)
    )
    random = np.random.default_rng(0)
    tensors = {f"{layer.name}.weight": random.normal(size=(4, 4)).astype(np.float32) for layer in layers}
    tensors |= {f"{layer.name}.bias": random.normal(size=4).astype(np.float32) for layer in layers}
    proto = graph.build(chain_of(layers, tensors), "encoder", 18, {})
    onnx.checker.check_model(proto, full_check=True)
    rows = tiny_rows(9, 4)
    (got,) = session(proto).run(None, {"input": rows})
    assert got == pytest.approx(reference.run(layers, tensors, rows), rel=1e-5, abs=1e-6)


def test_metadata_is_there_and_sorted() -> None:
    for proto in build_all(tiny_model(), 18, {"b": "2", "c": "3", "a": "1"}).values():
        assert [(entry.key, entry.value) for entry in proto.metadata_props] == [("a", "1"), ("b", "2"), ("c", "3")]
    assert session(proto).get_modelmeta().custom_metadata_map == {"a": "1", "b": "2", "c": "3"}


@each_graph
def test_equal_models_give_equal_bytes(activation: str, opset: int) -> None:
    turned = dict(reversed(METADATA.items()))
    first = build_all(tiny_model(activation), opset, METADATA)
    second = build_all(tiny_model(activation), opset, turned)
    for part in graph.PARTS:
        assert first[part].SerializeToString(deterministic=True) == second[part].SerializeToString(deterministic=True)


def test_another_weight_gives_other_bytes() -> None:
    first, second = (build_all(tiny_model(seed=seed), 18, METADATA) for seed in (0, 1))
    for part in graph.PARTS:
        assert first[part].SerializeToString(deterministic=True) != second[part].SerializeToString(deterministic=True)


HASHES = """
import hashlib, pathlib, sys
from tests.deploy.models import tiny_model, write_onnx
folder = write_onnx(pathlib.Path(sys.argv[1]), tiny_model(), 18)
print(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.onnx"))))
"""


def test_other_processes_and_folders_give_the_same_bytes(tmp_path: Path) -> None:
    mine = write_onnx(tmp_path, tiny_model(), 18)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(mine.glob("*.onnx"))]
    processes = []
    for seed in ("1", "2"):
        folder = tmp_path / f"folder{seed}"
        folder.mkdir()
        command = [sys.executable, "-W", "error", "-c", HASHES, str(folder)]
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        processes.append(subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True))
    for process in processes:
        assert process.communicate()[0].split() == expected
        assert process.returncode == 0
    assert len(set(expected)) == 3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_of_this_machine_is_in_the_bytes(tmp_path: Path, activation: str) -> None:
    package = Path(graph.__file__).parents[1]
    private = [str(tmp_path), str(package), str(Path.cwd()), str(Path.home()) + "/", "aecompress/", "/work", ".py"]
    if len(platform.node()) > 3:
        private.append(platform.node())
    for opset in (13, 21):
        folder = write_onnx(tmp_path, tiny_model(activation), opset)
        for part in graph.PARTS:
            data = (folder / f"{part}.onnx").read_bytes()
            for text in private:
                assert text.encode() not in data
            proto = onnx.load_from_string(data)
            assert proto.doc_string == proto.graph.doc_string == ""
            assert all(node.doc_string == "" and not node.metadata_props for node in proto.graph.node)


def test_the_parts_joined_are_the_autoencoder() -> None:
    protos = build_all(tiny_model(), 18, METADATA)
    assert [node.op_type for node in protos["autoencoder"].graph.node] == [
        node.op_type for part in ("encoder", "decoder") for node in protos[part].graph.node
    ]
    rows = tiny_rows()
    (latent,) = session(protos["encoder"]).run(None, {"input": rows})
    (joined,) = session(protos["decoder"]).run(None, {"latent": latent})
    (whole,) = session(protos["autoencoder"]).run(None, {"input": rows})
    assert latent.shape == (20, LATENT)
    assert joined == pytest.approx(whole, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("offset", "divisor", "first", "last"),
    [
        (0.0, 255.0, ["Div"], ["Mul"]),
        ([0.5] * INPUTS, [1.0] * INPUTS, ["Sub"], ["Add"]),
        ([0.5] * INPUTS, [0.0625] * INPUTS, ["Sub", "Div"], ["Mul", "Add"]),
    ],
    ids=["bytes", "shifted", "both"],
)
def test_a_scaling_inside_adds_no_operator_that_changes_nothing(
    offset: object, divisor: object, first: list[str], last: list[str]
) -> None:
    model, rows = tiny_model("tanh"), tiny_rows(7)
    scaling = graph.Affine(np.array(offset, np.float32), np.array(divisor, np.float32))
    proto = graph.build(graph.chains(model)["autoencoder"], "autoencoder", 18, {}, scaling=scaling)
    onnx.checker.check_model(proto, full_check=True)
    ops = [node.op_type for node in proto.graph.node]
    assert ops[: len(first)] == first and ops[-len(last) :] == last and len(ops) == 8 + len(first) + len(last)
    raw = rows * np.float32(divisor) + np.float32(offset)
    (got,) = session(proto).run(None, {"input": raw})
    right = reference.reconstruct(model, scaling.scale(raw))[1]
    assert got == pytest.approx(right * np.float32(divisor) + np.float32(offset), rel=1e-5, abs=1e-5)
