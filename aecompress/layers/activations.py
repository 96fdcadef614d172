"""The activations: a name, what it computes in NumPy, and the ONNX nodes that compute it.

The torch forms stand in :mod:`aecompress.nets.layers`, the compiled ones beside the compiled engine; a test holds the
names of all three equal, and equal to those of :mod:`aecompress.layers.names`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import SpecError
from aecompress.layers.base import Draft

Values = NDArray[np.floating[Any]]


class Activation(NamedTuple):
    """``value(pre)`` in NumPy; ``emit(draft, name, source, result)`` writes its nodes under the prefix ``name``."""

    value: Callable[[Values], Any]
    emit: Callable[[Draft, str, str, str], None]
    op: str = ""
    """The ONNX operator that is the activation, by which files from elsewhere are read; "" where there is none."""


def one_node(op: str, attributes: dict[str, Any], draft: Draft, name: str, source: str, result: str) -> None:
    """Write an activation that ONNX has as one operator."""
    draft.add(op, [source], result, name=name, **attributes)


def operator(op: str, value: Callable[[Values], Any], **attributes: Any) -> Activation:
    """Return the activation that every opset of ONNX has as the operator ``op``."""
    return Activation(value, partial(one_node, op, attributes), op)


def nothing(draft: Draft, name: str, source: str, result: str) -> None:
    """Write the activation that leaves its values alone: a layer then gives its result directly."""
    raise AssertionError("a layer without activation writes no node for it")


def gelu(draft: Draft, name: str, source: str, result: str) -> None:
    """Write exact GELU, spelled out below opset 20, which has no Gelu (Hendrycks and Gimpel 2016)."""
    if draft.opset >= 20:
        draft.add("Gelu", [source], result, name=name)
        return
    root, one, half = (draft.keep(f"{name}.{key}", v) for key, v in (("root", 2**-0.5), ("one", 1.0), ("half", 0.5)))
    for op, inputs, output in (
        ("Mul", [source, root], f"{name}.scaled"),
        ("Erf", [f"{name}.scaled"], f"{name}.erf"),
        ("Add", [f"{name}.erf", one], f"{name}.gate"),
        ("Mul", [source, half], f"{name}.halved"),
        ("Mul", [f"{name}.halved", f"{name}.gate"], result),
    ):
        draft.add(op, inputs, output, name=output)


def gelu_of(pre: Values) -> Values:
    """Return exact GELU in NumPy; SciPy is imported here, because a network is described without it."""
    from scipy.special import erf

    result: Values = 0.5 * pre * (1 + erf(pre / np.sqrt(2)))
    return result


def sigmoid_of(pre: Values) -> Values:
    """Return the logistic function in NumPy."""
    from scipy.special import expit

    result: Values = expit(pre)
    return result


IDENTITY = "identity"
ACTIVATIONS: dict[str, Activation] = {
    IDENTITY: Activation(lambda x: x, nothing),
    "relu": operator("Relu", lambda x: np.maximum(x, 0)),
    "leaky-relu": operator("LeakyRelu", lambda x: np.where(x > 0, x, 0.01 * x), alpha=0.01),
    "gelu": Activation(gelu_of, gelu, "Gelu"),
    "tanh": operator("Tanh", np.tanh),
    "sigmoid": operator("Sigmoid", sigmoid_of),
}


def check_activation(layer: str, activation: str) -> None:
    """Refuse an activation that is not in the table.

    Raises:
        SpecError: naming the layer and the choices.
    """
    if activation not in ACTIVATIONS:
        raise SpecError(f"model: layer {layer} has activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
