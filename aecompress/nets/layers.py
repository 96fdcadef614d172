"""Linear layers for a whole population at once: weights ``[P, in, out]``, rows ``[P, B, in]``.

The backward pass is written by hand: an autoencoder is a chain, so it is four lines, and gradients land in place in
one flat buffer. The tests hold it equal to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from aecompress import rng
from aecompress.errors import SpecError

aten = torch.ops.aten


class Activation(NamedTuple):
    """``apply(pre)`` gives the output and may overwrite ``pre``; ``backward(grad, pre, out)`` gives that at ``pre``."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda pre: pre, lambda grad, pre, out: grad),
    "relu": Activation(lambda pre: pre.relu_(), lambda grad, pre, out: aten.threshold_backward(grad, out, 0)),
    "leaky-relu": Activation(
        lambda pre: functional.leaky_relu_(pre, 0.01),
        lambda grad, pre, out: aten.leaky_relu_backward(grad, out, 0.01, True),
    ),
    "gelu": Activation(lambda pre: functional.gelu(pre), lambda grad, pre, out: aten.gelu_backward(grad, pre)),
    "tanh": Activation(lambda pre: torch.tanh(pre), lambda grad, pre, out: aten.tanh_backward(grad, out)),
    "sigmoid": Activation(lambda pre: torch.sigmoid(pre), lambda grad, pre, out: aten.sigmoid_backward(grad, out)),
}


@dataclass(frozen=True)
class Layer:
    """One linear layer and the activation after it."""

    name: str
    inputs: int
    outputs: int
    activation: str

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise SpecError(
                f"model: layer {self.name} asks for activation {self.activation!r}; "
                f"choose one of {', '.join(ACTIVATIONS)}"
            )


@dataclass(frozen=True)
class Slot:
    """Where one tensor of one layer lies in a cell's row of parameters."""

    offset: int
    size: int
    shape: tuple[int, int]


class Layout:
    """How the tensors of a chain of layers lie in a cell's row of ``n`` parameters.

    A population keeps its parameters as one tensor ``[P, n]``, a row per cell, so that copying a cell, ranking all of
    its weights and updating them are each one operation; every layer's weight is a view ``[P, in, out]`` of it.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.slots: dict[str, Slot] = {}
        offset = 0
        for layer in layers:
            for kind, shape in (
                ("weight", (layer.inputs, layer.outputs)),
                ("bias", (1, layer.outputs)),
            ):
                size = shape[0] * shape[1]
                self.slots[f"{layer.name}.{kind}"] = Slot(offset, size, shape)
                offset += size
        self.size = offset

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of ``flat`` ``[P, n]`` by tensor name: weights ``[P, in, out]``, biases ``[P, 1, out]``."""
        return {
            name: flat[:, slot.offset : slot.offset + slot.size].view(-1, *slot.shape)
            for name, slot in self.slots.items()
        }


def initial(
    layers: Sequence[Layer],
    layout: Layout,
    seed: int,
    cells: Tensor,
    gain: float = 1.0,
    generation: int = 0,
    step: int = 0,
) -> Tensor:
    """Fresh parameters ``[P, n]``: weights U(-gain/sqrt(in), gain/sqrt(in)), biases the same with a gain of 1.

    A gain of 1 is torch's default for ``nn.Linear``; with sqrt(3) the weights have the variance 1/in, which keeps that
    of the values from layer to layer (LeCun et al. 1998, "Efficient BackProp", equation 16).

    Args:
        generation, step: key the draws with ``seed`` and ``cells``; 0 and 0 before the first generation.
    """
    flat = rng.uniform(seed, "initial-weights", generation, cells, step, (layout.size,)).mul_(2).sub_(1)
    tensors = layout.views(flat)
    for layer in layers:
        tensors[f"{layer.name}.weight"] *= gain / layer.inputs**0.5
        tensors[f"{layer.name}.bias"] /= layer.inputs**0.5
    return flat


class Trace(NamedTuple):
    """What a forward pass leaves behind: per layer the value before and after its activation, ``[P, B, out]``.

    Where an activation works in place (relu, leaky-relu, identity) the two are one tensor.
    """

    pre: list[Tensor]
    out: list[Tensor]


def forward(layers: Sequence[Layer], weights: Mapping[str, Tensor], rows: Tensor) -> Trace:
    """Run a chain of layers on ``rows`` ``[P, B, in]``."""
    trace = Trace([], [])
    below = rows
    for layer in layers:
        pre = torch.baddbmm(weights[layer.name + ".bias"], below, weights[layer.name + ".weight"])
        below = ACTIVATIONS[layer.activation].apply(pre)  # [P, B, out]
        trace.pre.append(pre)
        trace.out.append(below)
    return trace


def write_gradient(layer: Layer, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor) -> None:
    """Write a layer's own gradient, in place, from its input ``[P, B, in]`` and ``delta`` ``[P, B, out]``."""
    torch.bmm(below.transpose(1, 2), delta, out=gradients[layer.name + ".weight"])
    torch.sum(delta, 1, keepdim=True, out=gradients[layer.name + ".bias"])


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """``left @ right``, ``[P, B, k] [P, k, m]``; of one cell as a plain product, which is faster in bfloat16.

    Args:
        out: ``[P, B, m]``, where the result goes; else into new memory.
    """
    if left.shape[0] > 1:
        return torch.bmm(left, right, out=out)
    return torch.mm(left[0], right[0], out=None if out is None else out[0])[None]


def backward(
    layers: Sequence[Layer],
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    trace: Trace,
    delta: Tensor,
) -> Tensor:
    """Back-propagate ``delta`` ``[P, B, out]``, the gradient at the last layer's value before its activation.

    Writes every layer's gradient into ``gradients`` (in place, same names and shapes as ``weights``).

    Returns:
        The gradient at the first layer's value before its activation, ``[P, B, out of the first layer]``.
    """
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        below = trace.out[index - 1] if index else rows
        write_gradient(layer, gradients, below, delta)
        if index:
            grad = product(delta, weights[layer.name + ".weight"].transpose(1, 2))
            activation = ACTIVATIONS[layers[index - 1].activation]
            delta = activation.backward(grad, trace.pre[index - 1], trace.out[index - 1])
    return delta
