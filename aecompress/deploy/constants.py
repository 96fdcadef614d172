"""What a graph computes from constants alone, which onnxruntime does while it loads: its size and work, bounded."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import helper, shape_inference

from aecompress.errors import DataError
from aecompress.parsing import quoted

MOST_VALUES = 1 << 26
"""Values of a constant tensor that any file may compute."""
MOST_TIMES = 100
"""How many times the values that are stored a computed tensor may have; packed weights stay below 30."""
MOST_PRODUCTS = 1 << 34
"""Multiplications in products of constants."""
SMALL = 64
"""Values of a stored tensor that may be a shape."""


def check_constants(path: Path, model: onnx.ModelProto) -> None:
    """Refuse a graph that computes huge tensors, or much, from constants alone.

    Raises:
        DataError: naming the tensor.
    """
    graph = model.graph
    computed = computed_from_constants(graph)
    if not computed:
        return
    shapes = static_shapes(model)
    stored = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    work = 0
    for node in computed:
        for name in node.output:
            if math.prod(shapes.get(name, ())) > max(MOST_VALUES, MOST_TIMES * stored):
                size = " x ".join(map(str, shapes[name]))
                raise DataError(f"{path}: computes {quoted(repr(name))} of {size} values from constants; simplify it")
        if node.op_type in ("MatMul", "Gemm"):
            inner = shapes.get(node.input[0], ())[-1:]
            work += math.prod(shapes.get(node.output[0], ())) * math.prod(inner)
    if work > MOST_PRODUCTS:
        raise DataError(f"{path}: computes {work:.0e} products of constants whenever it is loaded; simplify it")


def computed_from_constants(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that depend on no input of the graph."""
    constant = {tensor.name for tensor in graph.initializer} - {value.name for value in graph.input} | {""}
    found = []
    for node in graph.node:
        if all(name in constant for name in node.input):
            constant.update(node.output)
            if node.op_type != "Constant":
                found.append(node)
    return found


def static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that have fixed ones, worked out without the values of large tensors."""
    bare = onnx.ModelProto()
    bare.ir_version = model.ir_version
    bare.opset_import.extend(model.opset_import)
    graph = model.graph
    bare.graph.name = "g"
    bare.graph.node.extend(graph.node)
    bare.graph.output.extend(graph.output)
    bare.graph.input.extend(graph.input)
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in {value.name for value in graph.input}:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        inferred = shape_inference.infer_shapes(bare, data_prop=True).graph
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes
