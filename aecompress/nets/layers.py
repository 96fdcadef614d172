"""Layers for a whole population at once: weights ``[P, fan_in, columns]``, values ``[P, B, *shape]``.

The torch side of :mod:`aecompress.layers`: a forward pass per kind, and where a kind has none by hand, autograd's
backward. That of dense layers is written by hand: it is four lines, and gradients land in place in one flat buffer. The
tests hold it equal to autograd.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aecompress import plugins, rng
from aecompress.errors import SpecError
from aecompress.layers.activations import IDENTITY, SELU_ALPHA, SELU_SCALE
from aecompress.layers.base import BoundLayer
from aecompress.layers.names import slope_of
from aecompress.nets import convolutions, pools, prelu, recurrent
from aecompress.nets.places import ChannelsFirst, as_given, as_rows
from aecompress.nets.shapes import Layout

aten = torch.ops.aten


class Activation(NamedTuple):
    """``apply(pre)`` gives the output and may overwrite ``pre``; ``backward(grad, pre, out)`` gives that at ``pre``."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


def leaky(slope: float) -> Activation:
    """Return leaky-relu with a slope below 0, which is 0 or more."""
    return Activation(
        lambda pre: functional.leaky_relu_(pre, slope),
        lambda grad, pre, out: aten.leaky_relu_backward(grad, out, slope, True),
    )


def clipped(least: float, most: float) -> Activation:
    """Return x kept between two bounds."""
    return Activation(
        lambda pre: functional.hardtanh_(pre, least, most),
        lambda grad, pre, out: aten.hardtanh_backward(grad, out, least, most),
    )


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda pre: pre, lambda grad, pre, out: grad),
    "relu": Activation(lambda pre: pre.relu_(), lambda grad, pre, out: aten.threshold_backward(grad, out, 0)),
    "leaky-relu": leaky(0.01),
    "gelu": Activation(lambda pre: functional.gelu(pre), lambda grad, pre, out: aten.gelu_backward(grad, pre)),
    "tanh": Activation(lambda pre: torch.tanh(pre), lambda grad, pre, out: aten.tanh_backward(grad, out)),
    "sigmoid": Activation(lambda pre: torch.sigmoid(pre), lambda grad, pre, out: aten.sigmoid_backward(grad, out)),
    "elu": Activation(
        lambda pre: functional.elu_(pre), lambda grad, pre, out: aten.elu_backward(grad, 1, 1, 1, True, out)
    ),
    "selu": Activation(
        lambda pre: torch.selu_(pre),
        lambda grad, pre, out: aten.elu_backward(grad, SELU_ALPHA, SELU_SCALE, 1, True, out),
    ),
    "relu6": clipped(0, 6),
    "softplus": Activation(
        lambda pre: functional.softplus(pre), lambda grad, pre, out: aten.softplus_backward(grad, pre, 1, 20)
    ),
    "softsign": Activation(
        lambda pre: functional.softsign(pre), lambda grad, pre, out: grad * (1 - out.abs()).square_()
    ),
    "silu": Activation(lambda pre: functional.silu(pre), lambda grad, pre, out: aten.silu_backward(grad, pre)),
    "mish": Activation(lambda pre: functional.mish(pre), lambda grad, pre, out: aten.mish_backward(grad, pre)),
    "hard-swish": Activation(
        lambda pre: functional.hardswish(pre), lambda grad, pre, out: aten.hardswish_backward(grad, pre)
    ),
    "hard-tanh": clipped(-1, 1),
}
"""The torch forms of :data:`aecompress.layers.activations.ACTIVATIONS`."""


@functools.cache
def activation_of(name: str) -> Activation:
    """Return the torch form of an activation's name, such as ``relu`` or ``leaky-relu:0.2``."""
    slope = slope_of(name)
    return ACTIVATIONS[name] if slope is None else leaky(slope)


def initial(
    layers: Sequence[BoundLayer],
    layout: Layout,
    seed: int,
    cells: Tensor,
    *,
    gain: float = 1.0,
    generation: int = 0,
    step: int = 0,
) -> Tensor:
    """Draw parameters ``[P, n]``: weights U(-gain/sqrt(in), gain/sqrt(in)), biases the same with a gain of 1.

    A gain of 1 is torch's default for ``nn.Linear``; with sqrt(3) the weights have the variance 1/in, which keeps that
    of the values from layer to layer (LeCun et al. 1998, "Efficient BackProp", equation 16). ``in`` is :func:`summed`.

    Args:
        generation, step: key the draws with ``seed`` and ``cells``; 0 and 0 before the first generation.
    """
    flat = rng.uniform(seed, "initial-weights", generation, cells, step, (layout.size,)).mul_(2).sub_(1)
    tensors = layout.views(flat)
    for layer in layers:
        if not layer.weighted:
            continue
        start = kind_of(layer).start
        if start is not None:
            tensors[f"{layer.name}.weight"].fill_(start)
            tensors[f"{layer.name}.bias"].zero_()
            continue
        tensors[f"{layer.name}.weight"] *= gain / summed(layer) ** 0.5
        tensors[f"{layer.name}.bias"] /= summed(layer) ** 0.5
    return flat


def summed(layer: BoundLayer) -> float:
    """Return the weights that a value of a layer sums: the rows of its matrix, in the mean over all values.

    In a transposed convolution with a stride there are fewer, as a value is reached from few places of the kernel.
    """
    return min(layer.inputs, layer.macs / math.prod(layer.gives))


class Kind(NamedTuple):
    """The torch side of a layer kind.

    Attributes:
        forward: ``(layer, weight [P, fan_in, columns], bias [P, 1, columns], below [P, B, *given])`` to the values
            before the activation, ``[P, B, *gives]``; weight and bias are empty where the layer has none.
        backward: :func:`backward_layer` for the kind, by hand; None: autograd does it.
        record: ``forward`` that also returns what ``backward`` takes in place of ``below``; None: that is all.
        module: makes a module of the kind, from rows ``[N, D]`` to rows, with the tensors of ``to_torch``; None: a
            model that is loaded has ``forward`` as a module.
        start: what every weight begins as, beside biases of 0; None: both are drawn.
    """

    forward: Callable[[BoundLayer, Tensor, Tensor, Tensor], Tensor]
    backward: Callable[[BoundLayer, Tensor, Mapping[str, Tensor], Any, Tensor, bool], Tensor | None] | None = None
    module: Callable[[BoundLayer], nn.Module] | None = None
    record: Callable[[BoundLayer, Tensor, Tensor, Tensor], tuple[Tensor, Any]] | None = None
    start: float | None = None


def dense_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Compute ``below @ weight + bias``, ``[P, B, *places, out]``."""
    values = torch.baddbmm(bias, as_rows(below), weight)
    return values if len(layer.gives) == 1 else values.view(*values.shape[:2], *layer.gives)


def dense_write_gradient(layer: BoundLayer, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor) -> None:
    """Write a dense layer's own gradient, in place, of its input ``[P, B, *given]`` and of ``delta``, as it gives."""
    delta = as_rows(delta)
    torch.bmm(as_rows(below).transpose(1, 2), delta, out=gradients[layer.name + ".weight"])
    torch.sum(delta, 1, keepdim=True, out=gradients[layer.name + ".bias"])


def dense_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor, needed: bool
) -> Tensor | None:
    """Go backward through a dense layer."""
    dense_write_gradient(layer, gradients, below, delta)
    return product(as_rows(delta), weight.transpose(1, 2)).view_as(below) if needed else None


def dense_module(layer: BoundLayer) -> nn.Module:
    """Return ``nn.Linear``, between rows in torch's order where values have places."""
    linear = nn.Linear(layer.inputs, layer.outputs)
    return linear if len(layer.given) == len(layer.gives) == 1 else ChannelsFirst(layer, linear)


KINDS: dict[str, Kind] = {
    "dense": Kind(dense_forward, dense_backward, dense_module),
    "conv1d": Kind(convolutions.conv_forward, convolutions.conv_backward, convolutions.conv_module),
    "conv2d": Kind(convolutions.conv_forward, convolutions.conv_backward, convolutions.conv_module),
    "conv1d-transpose": Kind(convolutions.conv_forward, convolutions.conv_backward, convolutions.transpose_module),
    "conv2d-transpose": Kind(convolutions.conv_forward, convolutions.conv_backward, convolutions.transpose_module),
    "max-pool": Kind(pools.pool_forward(pools.MAX)),
    "avg-pool": Kind(pools.pool_forward(pools.MEAN)),
    "global-avg-pool": Kind(pools.global_forward),
    "upsample": Kind(pools.upsample_forward),
    **dict.fromkeys(("flatten", "unflatten", "reshape"), Kind(convolutions.reshape_forward)),
    "permute": Kind(convolutions.permute_forward),
    "scale": Kind(pools.scale_forward, start=1.0),
    "lstm": Kind(recurrent.lstm_forward, recurrent.lstm_backward, recurrent.LstmModule, record=recurrent.lstm_record),
    "gru": Kind(recurrent.gru_forward, recurrent.gru_backward, recurrent.GruModule, record=recurrent.gru_record),
    "repeat": Kind(recurrent.repeat_forward, recurrent.repeat_backward),
    "prelu": Kind(prelu.prelu_forward, prelu.prelu_backward, prelu.prelu_module, start=prelu.FIRST_SLOPE),
}
"""The torch side of :data:`aecompress.layers.kinds.KINDS`."""


@functools.cache
def plugged(name: str) -> Kind:
    """Return the torch side of a kind that an installed package brings.

    Raises:
        SpecError: there is none, or what the package brings is no :class:`Kind`.
    """
    found = plugins.load(plugins.NETS, "kind", name, list(KINDS))
    if not isinstance(found, Kind):
        raise SpecError(f"kind = {name!r}: its package brings {found!r}, which is no torch side; ask its author")
    return found


def kind_of(layer: BoundLayer) -> Kind:
    """Return the torch side of a layer's kind: one of ours, or the one that an installed package brings."""
    return KINDS[layer.kind] if layer.kind in KINDS else plugged(layer.kind)


class Trace(NamedTuple):
    """What a forward pass leaves behind: per layer the values before and after its activation, ``[P, B, *gives]``.

    Where an activation works in place, as relu does, the two are one tensor.
    """

    pre: list[Tensor]
    out: list[Tensor]
    recorded: dict[str, Any]
    """Of layers that were trained, by name, what their backward pass takes in place of their input."""


def forward(layers: Sequence[BoundLayer], weights: Mapping[str, Tensor], rows: Tensor, record: bool = False) -> Trace:
    """Run a chain of layers on ``rows``, ``[P, B, *given]`` or flat.

    Args:
        record: keep what :func:`backward` needs, as far as it is not the layers' values.
    """
    trace = Trace([], [], {})
    below = as_given(layers[0], rows)
    for layer in layers:
        kind, weight, bias = kind_of(layer), weights[layer.name + ".weight"], weights[layer.name + ".bias"]
        if record and kind.record is not None:
            pre, trace.recorded[layer.name] = kind.record(layer, weight, bias, below)
        else:
            pre = kind.forward(layer, weight, bias, below)
        if layer.activation != IDENTITY and not layer.weighted:
            pre = pre.clone()  # it may be a view of what is below, and activations work in place
        below = activation_of(layer.activation).apply(pre)  # [P, B, *gives]
        trace.pre.append(pre)
        trace.out.append(below)
    return trace


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute ``left @ right``, ``[P, B, k] [P, k, m]``; of one cell as a plain product, which is faster in bfloat16.

    Args:
        out: ``[P, B, m]``, where the result goes; else into new memory.
    """
    if left.shape[0] > 1:
        return torch.bmm(left, right, out=out)
    return torch.mm(left[0], right[0], out=None if out is None else out[0])[None]


def backward_layer(
    layer: BoundLayer,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    below: Any,
    delta: Tensor,
    needed: bool,
) -> Tensor | None:
    """Write a layer's own gradient, in place, from its input ``[P, B, *given]`` and ``delta`` ``[P, B, *gives]``.

    Args:
        below: the input, or what the kind's ``record`` returned.

    Returns:
        The gradient at its input, where that is ``needed``.
    """
    names = (layer.name + ".weight", layer.name + ".bias")
    kind = kind_of(layer)
    if kind.record is not None and isinstance(below, Tensor):  # the forward pass was not for training
        _, below = kind.record(layer, weights[names[0]], weights[names[1]], below)
    if kind.backward is not None:
        return kind.backward(layer, weights[names[0]], gradients, below, delta, needed)
    if not (layer.weighted or needed):
        return None
    leaves = [tensor.detach().requires_grad_() for tensor in (weights[names[0]], weights[names[1]], below)]
    with torch.enable_grad():  # the forward pass is computed again
        pre = kind.forward(layer, *leaves)
        weight, bias, at_input = torch.autograd.grad(pre, leaves, delta, allow_unused=True)
    for name, found in zip(names, (weight, bias), strict=True):
        if found is not None:  # None: the layer has no such tensor
            gradients[name].copy_(found)
    return at_input


def backward(
    layers: Sequence[BoundLayer],
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    trace: Trace,
    delta: Tensor,
    *,
    more: tuple[int, Tensor] | None = None,
    needed: bool = True,
) -> Tensor:
    """Back-propagate ``delta`` ``[P, B, *gives]``, the gradient at the last layer's value before its activation.

    Writes every layer's gradient into ``gradients`` (in place, same names and shapes as ``weights``).

    Args:
        rows: as :func:`forward` took them.
        more: which layer, and a gradient that is added to that at its value after its activation.
        needed: whether what is returned is used; else nothing below the first layer with weights is computed.

    Returns:
        The gradient at the first layer's value before its activation, ``[P, B, *gives of the first layer]``.
    """
    lowest = 0 if needed else [layer.weighted for layer in layers].index(True)
    for index in range(len(layers) - 1, lowest - 1, -1):
        layer = layers[index]
        below = trace.out[index - 1] if index else as_given(layer, rows)
        below = trace.recorded.get(layer.name, below)
        grad = backward_layer(layer, weights, gradients, below, delta, index > lowest)
        if grad is not None and more is not None and index - 1 == more[0]:
            grad = grad + more[1].view_as(grad)
        if grad is not None and index > lowest:
            activation = activation_of(layers[index - 1].activation)
            delta = activation.backward(grad, trace.pre[index - 1], trace.out[index - 1])
    return delta
