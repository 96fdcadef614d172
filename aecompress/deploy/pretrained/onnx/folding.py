"""Constants that a graph computes: shapes, paddings, transposed and scaled weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from aecompress.deploy.pretrained.onnx.moves import MOVES, check_count
from aecompress.deploy.pretrained.onnx.nodes import Array, Node
from aecompress.deploy.pretrained.views import Refused

Fold = Callable[[Node], Any]


def fold(node: Node) -> list[Array]:
    """Return what a node of constants alone gives.

    Raises:
        Refused: it is no operator that constants are folded of, or gives too many values.
    """
    if node.op in MOVES:
        found = MOVES[node.op](node.stored(0), node)
        return found if isinstance(found, list) else [found]
    if node.op in ELEMENTWISE:
        given = [node.stored(place) for place in range(len(node.inputs))]
        check_count(math.prod(np.broadcast_shapes(*(each.shape for each in given))))
        with np.errstate(all="ignore"):
            return [np.asarray(ELEMENTWISE[node.op](*given))]
    if node.op not in FOLDS:
        raise Refused("computes weights in a way that is not known; simplify the graph, with onnxsim for example")
    return [np.asarray(FOLDS[node.op](node))]


def divide(one: Array, other: Array) -> Array:
    """Divide, whole numbers towards zero."""
    if np.issubdtype(one.dtype, np.integer):
        return np.trunc(one / np.where(other == 0, 1, other)).astype(one.dtype)
    return one / other


def cast(node: Node) -> Array:
    """Return a constant in another number format."""
    if "to" not in node.about:
        return node.stored(0).astype(node.stored(1).dtype)  # CastLike
    return node.stored(0).astype(helper.tensor_dtype_to_np_dtype(node.about["to"]))


def constant(node: Node) -> Array:
    """Return the value of a Constant, in whatever attribute it stands."""
    if len(node.about) != 1:
        raise Refused("holds no value; export the model again")
    ((name, value),) = node.about.items()
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if name != "value" and name not in kinds:
        raise Refused(f"holds a {name}; export the model again")
    return np.asarray(value, kinds.get(name))


def of_shape(node: Node) -> Array:
    """Return a constant of a shape."""
    shape = tuple(int(size) for size in node.stored(0))
    check_count(math.prod(shape))
    return np.broadcast_to(node.about.get("value", np.zeros(1, np.float32)).reshape(-1)[0], shape)


def concat(node: Node) -> Array:
    """Return constants behind each other."""
    parts = [node.stored(place) for place in range(len(node.inputs))]
    check_count(sum(part.size for part in parts))
    return np.concatenate(parts, int(node.about["axis"]))


def arange(node: Node) -> Array:
    """Return evenly spaced numbers."""
    first, last, step = (node.stored(place) for place in range(3))
    count = max(int(np.ceil((float(last) - float(first)) / (float(step) or 1.0))), 0)
    check_count(count)
    result: Array = (first + step * np.arange(count)).astype(first.dtype)
    return result


def reduced(function: Callable[..., Any]) -> Fold:
    """Return a reduction over axes."""

    def run(node: Node) -> Any:
        axes = node.numbers("axes", 1)
        x = node.stored(0)
        if axes is None and node.about.get("noop_with_empty_axes"):
            return x
        return function(x, axis=None if axes is None else tuple(axes), keepdims=bool(node.about.get("keepdims", 1)))

    return run


def product(node: Node) -> Array:
    """Return the product of two constants."""
    one, other = node.stored(0), node.stored(1)
    check_count(one.size // max(one.shape[-1], 1) * (other.shape[-1] if other.ndim > 1 else 1))
    return one @ other


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": divide,
    "Mod": np.mod,
    "Pow": np.power,
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Reciprocal": np.reciprocal,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sign": np.sign,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Max": np.maximum,
    "Min": np.minimum,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "Where": np.where,
}
"""Operators on constants that are taken value by value."""
FOLDS: dict[str, Fold] = {
    "Constant": constant,
    "ConstantOfShape": of_shape,
    "Cast": cast,
    "CastLike": cast,
    "Concat": concat,
    "Range": arange,
    "Shape": lambda node: np.array(node.stored(0).shape, np.int64),
    "Size": lambda node: np.array(node.stored(0).size, np.int64),
    "MatMul": product,
    "ReduceSum": reduced(np.sum),
    "ReduceProd": reduced(np.prod),
    "ReduceMean": reduced(np.mean),
    "ReduceMax": reduced(np.max),
    "ReduceMin": reduced(np.min),
    "ReduceL2": reduced(lambda x, axis, keepdims: np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))),
}
