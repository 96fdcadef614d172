"""The activations: a name, what it computes in NumPy, and the ONNX nodes that compute it.

The torch forms stand in :mod:`aecompress.nets.layers`, the compiled ones beside the compiled engine; a test holds the
names of all three equal, and equal to those of :mod:`aecompress.layers.names`. :func:`activation_of` also knows
leaky-relu with a slope of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import SpecError
from aecompress.layers.base import Draft
from aecompress.layers.names import SLOPED_EXAMPLE, slope_of

Values = NDArray[np.floating[Any]]


class Activation(NamedTuple):
    """``value(pre)`` in NumPy; ``emit(draft, name, source, result)`` writes its nodes under the prefix ``name``."""

    value: Callable[[Values], Any]
    emit: Callable[[Draft, str, str, str], None]


def one_node(op: str, attributes: dict[str, Any], draft: Draft, name: str, source: str, result: str) -> None:
    """Write an activation that ONNX has as one operator."""
    draft.add(op, [source], result, name=name, **attributes)


def operator(op: str, value: Callable[[Values], Any], **attributes: Any) -> Activation:
    """Return the activation that every opset of ONNX has as the operator ``op``."""
    return Activation(value, partial(one_node, op, attributes))


def leaky(slope: float) -> Activation:
    """Return x where it is positive, else x times ``slope``."""
    return operator("LeakyRelu", lambda x: np.where(x > 0, x, slope * x), alpha=slope)


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


def elu_of(pre: Values) -> Any:
    """Return x where it is positive, else exp(x) - 1 (Clevert et al. 2016)."""
    return np.where(pre > 0, pre, np.expm1(np.minimum(pre, 0)))


def selu_of(pre: Values) -> Any:
    """Return the scaled exponential linear unit (Klambauer et al. 2017)."""
    return SELU_SCALE * np.where(pre > 0, pre, SELU_ALPHA * np.expm1(np.minimum(pre, 0)))


def softplus_of(pre: Values) -> Any:
    """Return log(1 + exp(x)); torch's takes x itself above 20, which differs by at most 2.1e-9."""
    return np.logaddexp(pre, pre.dtype.type(0))


def silu(draft: Draft, name: str, source: str, result: str) -> None:
    """Write x sigmoid(x), which ONNX has as one operator (Swish) from opset 24 on only."""
    draft.add("Mul", [source, draft.add("Sigmoid", [source], f"{name}.gate")], result, name=name)


def mish(draft: Draft, name: str, source: str, result: str) -> None:
    """Write x tanh(softplus(x)) (Misra 2020), spelled out below opset 18, which has no Mish."""
    if draft.opset >= 18:
        draft.add("Mish", [source], result, name=name)
        return
    soft = draft.add("Softplus", [source], f"{name}.soft")
    draft.add("Mul", [source, draft.add("Tanh", [soft], f"{name}.gate")], result, name=name)


def hard_swish(draft: Draft, name: str, source: str, result: str) -> None:
    """Write x clip(x + 3, 0, 6) / 6 (Howard et al. 2019), spelled out below opset 14, which has no HardSwish."""
    if draft.opset >= 14:
        draft.add("HardSwish", [source], result, name=name)
        return
    gate = draft.add("HardSigmoid", [source], f"{name}.gate", alpha=1 / 6, beta=0.5)
    draft.add("Mul", [source, gate], result, name=name)


def clip(least: float, most: float, draft: Draft, name: str, source: str, result: str) -> None:
    """Write x kept between two bounds."""
    bounds = [draft.keep(f"{name}.{key}", value) for key, value in (("least", least), ("most", most))]
    draft.add("Clip", [source, *bounds], result, name=name)


def clipped(least: float, most: float) -> Activation:
    """Return x kept between two bounds."""
    return Activation(lambda x: np.clip(x, least, most), partial(clip, least, most))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
IDENTITY = "identity"
ACTIVATIONS: dict[str, Activation] = {
    IDENTITY: Activation(lambda x: x, nothing),
    "relu": operator("Relu", lambda x: np.maximum(x, 0)),
    "leaky-relu": leaky(0.01),
    "gelu": Activation(gelu_of, gelu),
    "tanh": operator("Tanh", np.tanh),
    "sigmoid": operator("Sigmoid", sigmoid_of),
    "elu": operator("Elu", elu_of),
    "selu": operator("Selu", selu_of),
    "relu6": clipped(0.0, 6.0),
    "softplus": operator("Softplus", softplus_of),
    "softsign": operator("Softsign", lambda x: x / (1 + np.abs(x))),
    "silu": Activation(lambda x: x * sigmoid_of(x), silu),
    "mish": Activation(lambda x: x * np.tanh(softplus_of(x)), mish),
    "hard-swish": Activation(lambda x: x * np.clip(x + 3, 0, 6) / 6, hard_swish),
    "hard-tanh": clipped(-1.0, 1.0),
}


@cache
def activation_of(name: str) -> Activation:
    """Return the activation of a name that :func:`check_activation` has let pass."""
    slope = slope_of(name)
    return ACTIVATIONS[name] if slope is None else leaky(slope)


def leaky_name(slope: float) -> str:
    """Return the name of leaky-relu with a slope below 0, of which float32 is kept."""
    text = np.format_float_positional(np.float32(slope), trim="-")
    return "leaky-relu" if text == "0.01" else f"leaky-relu:{text}"


def check_activation(layer: str, activation: str) -> None:
    """Refuse an activation that is not in the table, nor leaky-relu with a slope.

    Raises:
        SpecError: naming the layer and the choices.
    """
    if activation not in ACTIVATIONS and slope_of(activation) is None:
        choices = ", ".join([*ACTIVATIONS, SLOPED_EXAMPLE])
        raise SpecError(f"model: layer {layer} has activation {activation!r}; choose one of {choices}")
