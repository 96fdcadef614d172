"""Graphs that compute much from constants are refused before onnxruntime loads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from aecompress.deploy.reading import read_onnx
from aecompress.errors import DataError


def numbers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def scalar(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)


ONE = numpy_helper.from_array(np.ones((1, 1), np.float32), "c")
SQUARE = numbers("s", 30000, 30000)
CHAIN = [helper.make_node("ConstantOfShape", ["s"], ["x0"])] + [
    helper.make_node("MatMul", [f"x{at}", f"x{at}"], [f"x{at + 1}"]) for at in range(40)
]
BOMBS = {
    "ConstantOfShape": ([helper.make_node("ConstantOfShape", ["s"], ["big"])], [SQUARE]),
    "Expand": ([helper.make_node("Expand", ["c", "s"], ["big"])], [ONE, SQUARE]),
    "Tile": ([helper.make_node("Tile", ["c", "s"], ["big"])], [ONE, SQUARE]),
    "Range": (
        [helper.make_node("Range", ["a", "b", "d"], ["big"])],
        [scalar("a", 0), scalar("b", 9e8), scalar("d", 1)],
    ),
    "MatMul": ([*CHAIN, helper.make_node("Identity", ["x40"], ["big"])], [numbers("s", 3000, 3000)]),
}


@pytest.mark.parametrize(("nodes", "stored"), BOMBS.values(), ids=BOMBS)
def test_much_that_is_computed_from_constants_is_refused(
    tmp_path: Path, nodes: list[onnx.NodeProto], stored: list[onnx.TensorProto]
) -> None:
    ends = [helper.make_node("ReduceMax", ["big"], ["m"], keepdims=0), helper.make_node("Add", ["input", "m"], ["out"])]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 64]) for name in ("input", "out")]
    graph = helper.make_graph([*nodes, *ends], "g", ports[:1], ports[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "a.onnx")
    with pytest.raises(DataError, match=r"a\.onnx: computes .*constants.*; simplify it"):
        read_onnx(tmp_path / "a.onnx")
