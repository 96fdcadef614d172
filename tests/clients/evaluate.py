"""An exported graph in NumPy: what a client's output is compared with, written apart from every runtime.

Floats are computed in float64; a rounded file is compared with what its own numbers stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from scipy.special import erf, expit

Array = NDArray[Any]
Attributes = dict[str, Any]
NONE = np.zeros((), np.uint8)
"""The zero point where a node has none."""


def along(axis: int, values: Array, rank: int) -> Array:
    """Give ``values``, a number or one for each index of ``axis``, the shape that broadcasts over ``rank`` axes."""
    shape = [1] * rank
    if values.size > 1:
        shape[axis] = values.size
    return values.reshape(shape)


def gemm(given: Attributes, a: Array, b: Array, c: Array | float = 0.0) -> Array:
    a, b = (a.T if given.get("transA") else a), (b.T if given.get("transB") else b)
    return given.get("alpha", 1.0) * (a @ b) + given.get("beta", 1.0) * c


def reduce_mean(given: Attributes, values: Array, axes: Array | None = None) -> Array:
    over = tuple(given["axes"]) if axes is None else tuple(axes)
    return values.mean(over, keepdims=bool(given.get("keepdims", 1)))


def quantize(given: Attributes, values: Array, scale: Array, zero: Array = NONE) -> Array:
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(zero.dtype)


def dequantize(given: Attributes, values: Array, scale: Array, zero: Array = NONE) -> Array:
    scale, zero = (along(given.get("axis", 1), each, values.ndim) for each in (scale, zero))
    return (values.astype(np.int64) - zero.astype(np.int64)) * scale


def dynamic_quantize(given: Attributes, values: Array) -> tuple[Array, Array, Array]:
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    step = np.asarray((high - low) / 255)
    zero = np.asarray(np.clip(np.rint(-low / step), 0, 255).astype(np.uint8))
    return quantize(given, values, step, zero), step, zero


def matmul_integer(given: Attributes, a: Array, b: Array, a_zero: Array, b_zero: Array) -> Array:
    return (a.astype(np.int64) - a_zero.astype(np.int64)) @ (b.astype(np.int64) - b_zero.astype(np.int64))


def reshape(given: Attributes, values: Array, shape: Array) -> Array:
    return values.reshape([values.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def taken(given: Attributes, values: Array, starts: Array, ends: Array, axes: Array, steps: Array | int = 1) -> Array:
    slices = [slice(None)] * values.ndim
    for axis, start, end, step in zip(axes, starts, ends, np.broadcast_to(steps, axes.shape), strict=True):
        slices[axis] = slice(int(start), int(end), int(step))
    return values[tuple(slices)]


def scatter(given: Attributes, values: Array, index: Array, updates: Array) -> Array:
    """As onnxruntime does: where an index comes twice, the last update stays."""
    result = values.copy()
    assert values.ndim == 1 or given.get("axis", 0) == 0
    result[index] = updates
    return result


def split(given: Attributes, values: Array, sizes: Array) -> tuple[Array, ...]:
    return tuple(np.split(values, np.cumsum(sizes)[:-1], given.get("axis", 0)))


def constant(given: Attributes, shape: Array) -> Array:
    return np.full(tuple(shape), numpy_helper.to_array(given["value"])[0] if "value" in given else np.float64(0))


def divide(given: Attributes, a: Array, b: Array) -> Array:
    """Divide; integers are not negative here."""
    return a // b if a.dtype.kind in "iu" else a / b


OPERATORS: dict[str, Callable[..., Array | tuple[Array, ...]]] = {
    "Abs": lambda given, x: np.abs(x),
    "Add": lambda given, a, b: a + b,
    "Clip": lambda given, x, low, high: np.clip(x, low, high),
    "Concat": lambda given, *xs: np.concatenate(xs, given["axis"]),
    "ConstantOfShape": constant,
    "CumSum": lambda given, x, axis: np.cumsum(x, int(np.reshape(axis, ())), dtype=x.dtype),
    "DequantizeLinear": dequantize,
    "Div": divide,
    "DynamicQuantizeLinear": dynamic_quantize,
    "Elu": lambda given, x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "Erf": lambda given, x: erf(x),
    "Expand": lambda given, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "Floor": lambda given, x: np.floor(x),
    "Gather": lambda given, x, index: np.take(x, index, given.get("axis", 0)),
    "Gelu": lambda given, x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "Gemm": gemm,
    "HardSigmoid": lambda given, x: np.clip(given["alpha"] * x + given["beta"], 0, 1),
    "HardSwish": lambda given, x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Identity": lambda given, x: x,
    "LeakyRelu": lambda given, x: np.where(x > 0, x, given.get("alpha", 0.01) * x),
    "Less": lambda given, a, b: a < b,
    "MatMul": lambda given, a, b: a @ b,
    "MatMulInteger": matmul_integer,
    "Max": lambda given, *xs: np.maximum.reduce(np.broadcast_arrays(*xs)),
    "Min": lambda given, *xs: np.minimum.reduce(np.broadcast_arrays(*xs)),
    "Mish": lambda given, x: x * np.tanh(np.logaddexp(0, x)),
    "Mod": lambda given, a, b: np.mod(a, b),
    "Mul": lambda given, a, b: a * b,
    "QuantizeLinear": quantize,
    "ReduceMean": reduce_mean,
    "Relu": lambda given, x: np.maximum(x, 0),
    "Reshape": reshape,
    "Round": lambda given, x: np.rint(x),
    "ScatterElements": scatter,
    "Selu": lambda given, x: 1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(np.minimum(x, 0))),
    "Sigmoid": lambda given, x: expit(x),
    "Slice": taken,
    "Softplus": lambda given, x: np.logaddexp(0, x),
    "Softsign": lambda given, x: x / (1 + np.abs(x)),
    "Split": split,
    "Sub": lambda given, a, b: a - b,
    "Tanh": lambda given, x: np.tanh(x),
    "Unsqueeze": lambda given, x, axes: np.expand_dims(x, tuple(axes)),
    "Where": lambda given, condition, a, b: np.where(condition, a, b),
}


def evaluate(model: onnx.ModelProto, rows: Array) -> NDArray[np.float64]:
    """Compute the first output of a graph of :data:`OPERATORS` on ``rows`` in float64.

    Raises:
        KeyError: the graph has another operator.
    """
    values = {tensor.name: doubled(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    values[model.graph.input[0].name] = rows.astype(np.float64)
    for node in model.graph.node:
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Cast":
            results: Sequence[Array] = [values[node.input[0]].astype(cast(given["to"]))]
        else:
            found = OPERATORS[node.op_type](given, *(values[name] for name in node.input if name))
            results = found if isinstance(found, tuple) else [found]
        values.update(zip(node.output, results, strict=True))
    return np.asarray(values[model.graph.output[0].name], np.float64)


def doubled(values: Array) -> Array:
    """Return floats as float64, integers as they are."""
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def cast(to: int) -> np.dtype[Any]:
    """Return the type that a Cast gives, float64 for any float."""
    found = helper.tensor_dtype_to_np_dtype(to)
    return np.dtype(np.float64) if found.kind == "f" else found
