"""ONNX files that onnxruntime loads and cannot run, or that give something else than numbers, are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aecompress.deploy import bench, plain
from aecompress.deploy.graph import ROUNDED_KEY
from aecompress.deploy.verify import verify_against
from aecompress.errors import DataError
from tests.deploy.models import tiny_model, tiny_rows, write_model

WIDTH = tiny_model().encoder[0].inputs
TABLE = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "w")
FAR = numpy_helper.from_array(np.array(9999), "far")
EVIL = "\x1b]0;title\x07"
node = helper.make_node
BEYOND = [
    node("Cast", ["input"], ["whole"], to=TensorProto.INT64),
    node("ReduceMax", ["whole"], ["largest"], keepdims=0),
    node("Add", ["largest", "far"], ["beyond"]),
    node("Gather", ["w", "beyond"], ["row"], name=EVIL),
    node("Add", ["input", "row"], ["reconstruction"]),
]
FIXED = [node("Gather", ["w", "far"], ["row"]), node("Add", ["input", "row"], ["reconstruction"])]
SHAPE = numpy_helper.from_array(np.array([3, WIDTH]), "shape")


def rows_of(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["n", WIDTH])


def sequence() -> onnx.ValueInfoProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", WIDTH]))
    return helper.make_value_info("reconstruction", kind)


Graph = tuple[list[onnx.NodeProto], list[onnx.TensorProto], onnx.ValueInfoProto]
GRAPHS: dict[str, Graph] = {
    "an index beyond a table": (BEYOND, [TABLE, FAR], rows_of("reconstruction")),
    "a constant index beyond it": (FIXED, [TABLE, FAR], rows_of("reconstruction")),
    "another number of rows": (
        [node("Reshape", ["input", "shape"], ["reconstruction"])],
        [SHAPE],
        rows_of("reconstruction"),
    ),
    "text": (
        [node("Cast", ["input"], ["reconstruction"], to=TensorProto.STRING)],
        [],
        rows_of("reconstruction", TensorProto.STRING),
    ),
    "a sequence": ([node("SequenceConstruct", ["input"], ["reconstruction"])], [], sequence()),
    "no input": ([node("Identity", ["w"], ["reconstruction"])], [TABLE], rows_of("reconstruction")),
}


def written(path: Path, graph: Graph, **about: str) -> Path:
    nodes, stored, output = graph
    inputs = [rows_of("input")] if any("input" in one.input for one in nodes) else []
    made = helper.make_graph(nodes, "g", inputs, [output], stored)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, about)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_a_file_that_does_not_run_is_named_by_bench_and_export(
    tmp_path: Path, graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.onnx", graph)
    with pytest.raises(DataError, match=r"a\.onnx: (onnxruntime fails on 2 rows|gives|takes no input)"):
        bench.bench_files([path], (2,), (1,), 0.01)
    with pytest.raises(DataError, match=r"a\.onnx: "):
        plain.make_plain(path, tmp_path / "plain.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]
    assert capfd.readouterr() == ("", "")  # onnxruntime's own log would print a node's name as it is


@pytest.mark.parametrize("about", [{}, {ROUNDED_KEY: "int8"}], ids=["plain", "rounded"])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_a_file_that_does_not_run_fails_verification(
    tmp_path: Path, graph: Graph, about: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    folder = write_model(tmp_path / "model", tiny_model())
    result = verify_against(written(tmp_path / "a.onnx", graph, **about), folder, tiny_rows(), None)
    assert not result.passed and result.first_failure
    assert capfd.readouterr() == ("", "")


def test_a_number_for_all_rows_is_not_a_time(tmp_path: Path) -> None:
    output = helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT, [])
    path = written(tmp_path / "a.onnx", ([node("ReduceSum", ["input"], ["reconstruction"], keepdims=0)], [], output))
    with pytest.raises(DataError, match=r"a\.onnx: gives \(\) for 2 rows"):
        bench.bench_files([path], (2,), (1,), 0.01)
