"""Operators that are a function of each value: with constants affine maps, alone or together activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf, erfc, expit

from aecompress.deploy.pretrained.building import affine_of, function_of
from aecompress.deploy.pretrained.onnx.nodes import Array, Node, Value
from aecompress.deploy.pretrained.views import View

SELU = (1.6732632423543772, 1.0507009873554805)
"""Alpha and gamma (Klambauer et al. 2017)."""


def elu(x: Array, alpha: float) -> Array:
    """Return x above 0, alpha (exp(x) - 1) below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x: Array, approximate: bool) -> Array:
    """Return GELU, exact or by tanh."""
    inner = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)) if approximate else erf(x / np.sqrt(2))
    result: Array = 0.5 * x * (1 + inner)
    return result


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    """Return alpha x + beta between 0 and 1."""
    return np.clip(alpha * x + beta, 0, 1)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x))."""
    return np.logaddexp(x, 0)


Unary = Callable[[Node], Callable[[Array], Any]]
UNARY: dict[str, Unary] = {
    "Relu": lambda node: lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda node: _leaky(node.about.get("alpha", 0.01)),
    "ThresholdedRelu": lambda node: lambda x: np.where(x > node.about.get("alpha", 1.0), x, 0),
    "Tanh": lambda node: np.tanh,
    "Sigmoid": lambda node: expit,
    "Elu": lambda node: lambda x: elu(x, node.about.get("alpha", 1.0)),
    "Celu": lambda node: lambda x: np.maximum(x, 0) + np.minimum(0, elu(x / _alpha(node), 1.0) * _alpha(node)),
    "Selu": lambda node: lambda x: node.about.get("gamma", SELU[1]) * elu(x, node.about.get("alpha", SELU[0])),
    "Gelu": lambda node: lambda x: gelu(x, node.about.get("approximate") == b"tanh"),
    "Softplus": lambda node: softplus,
    "Softsign": lambda node: lambda x: x / (1 + np.abs(x)),
    "Mish": lambda node: lambda x: x * np.tanh(softplus(x)),
    "Swish": lambda node: lambda x: x * expit(_alpha(node) * x),
    "HardSwish": lambda node: lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
    "HardSigmoid": lambda node: lambda x: hard_sigmoid(x, node.about.get("alpha", 0.2), node.about.get("beta", 0.5)),
    "Clip": lambda node: lambda x: np.clip(x, node.number("min", 1, -np.inf), node.number("max", 2, np.inf)),
    "Erf": lambda node: erf,
    "Erfc": lambda node: erfc,
    "Exp": lambda node: np.exp,
    "Log": lambda node: np.log,
    "Abs": lambda node: np.abs,
    "Sqrt": lambda node: np.sqrt,
    "Reciprocal": lambda node: np.reciprocal,
    "Sign": lambda node: np.sign,
    "Not": lambda node: np.logical_not,
}
"""Functions of one value, by the attributes of a node."""
NARY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sum": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "PRelu": lambda x, slope: np.where(x > 0, x, slope * x),
    "Where": np.where,
}
"""Functions of several values."""


def _alpha(node: Node) -> float:
    return float(node.about.get("alpha", 1.0))


def _leaky(alpha: float) -> Callable[[Array], Any]:
    return lambda x: np.where(x > 0, x, alpha * x)


def is_function(op: str) -> bool:
    """Return whether an operator is a function of each value."""
    return op in UNARY or op in NARY or op == "Neg"


def applied(node: Node) -> Value:
    """Return what a function of each value gives, of which at least one is a view."""
    if node.op == "Neg":
        return affine_of(node.view(), node.label, -1.0, 0.0)
    if node.op in UNARY:
        return function_of([node.view()], node.name, node.op, UNARY[node.op](node))
    values = [value for value in node.inputs if value is not None]
    if len(values) == 2:
        one, other = values
        if isinstance(one, View) and not isinstance(other, View):
            found = _with_constant(node, one, other)
        elif isinstance(other, View) and not isinstance(one, View):
            found = _with_constant(node, other, one, swapped=True)
        else:
            found = None
        if found is not None:
            return found
    return function_of(values, node.name, node.op, NARY[node.op])


def _with_constant(node: Node, view: View, constant: Array, swapped: bool = False) -> Value | None:
    """Return an operator on a view and a constant as an affine map; None: it is none.

    A product with zeros for each value of each row is noise that is left out, and a constant.

    Args:
        swapped: whether the constant comes first.
    """
    constant = constant.astype(np.float64)
    if node.op in ("Add", "Sum"):
        return affine_of(view, node.label, 1.0, constant)
    if node.op == "Sub":
        return affine_of(view, node.label, -1.0, constant) if swapped else affine_of(view, node.label, 1.0, -constant)
    if node.op == "Mul":
        if constant.shape == view.shape and not constant.any():
            return np.broadcast_to(np.float32(0), view.shape)
        return affine_of(view, node.label, constant, 0.0)
    if node.op == "Div" and not swapped:
        with np.errstate(divide="ignore"):
            return affine_of(view, node.label, 1 / constant, 0.0)
    return None
