"""One reading of a file on rows: its losses, and the gradient of these, with any activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.pretrained.base import LayerShape, Pretrained
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.steps import UNKNOWN
from aecompress.layers.activations import IDENTITY
from aecompress.layers.base import BoundLayer, Shape
from aecompress.layers.names import NAMES
from aecompress.nets.layers import activation_of, kind_of
from aecompress.nets.places import as_given, as_rows

OUTPUTS = (IDENTITY, "sigmoid", "tanh", "relu")
SLOPES = ("leaky-relu:0.1", "leaky-relu:0.2", "leaky-relu:0.3")
KNOWN = (*NAMES, *SLOPES)
"""What is tried after hidden layers."""
NEAR = 1.25
"""Up to this many times the least loss, the gradient decides as well: it is least where a model was trained."""
MIXED = 0.85
"""Activations that differ from hidden layer to hidden layer need at most this share of the loss of any that do not."""
NEAR_RELU = ("leaky-relu", "relu6")
"""What rows hardly show to be other than relu."""


class Trial(NamedTuple):
    """One reading of a file on rows, ready to be computed with any activations."""

    model: Pretrained
    layers: tuple[BoundLayer, ...]
    weights: tuple[tuple[Tensor, Tensor], ...]
    rows: Tensor
    """``[1, N, D]``."""
    losses: dict[tuple[str, ...], tuple[float, float]]
    """By the activations of all layers: the loss, and that with the input added to the output."""


def trial(model: Pretrained, rows: Floats, shape: Shape) -> Trial:
    """Return a reading with its tensors for torch."""
    layers = bound(filled(model, [IDENTITY] * (len(model.encoder) + len(model.decoder))), shape)
    weights = tuple(
        (
            torch.from_numpy(np.array(np.atleast_2d(model.tensors[f"{layer.name}.weight"])))[None],
            torch.from_numpy(np.array(np.atleast_2d(model.tensors[f"{layer.name}.bias"])))[None],
        )
        for layer in layers
    )
    return Trial(model, layers, weights, torch.from_numpy(np.array(rows, np.float32))[None], {})


def evaluate(reading: Trial, choices: Iterable[tuple[str, ...]]) -> None:
    """Compute the losses of a reading with each choice of activations, in an order that shares what is the same."""
    values, last = list[Tensor](), tuple[str, ...]()
    target = reading.rows[0]
    with torch.no_grad():
        for names in sorted(set(choices) - reading.losses.keys()):
            same = next((at for at, pair in enumerate(zip(names, last, strict=False)) if pair[0] != pair[1]), len(last))
            del values[same:]
            for index in range(len(values), len(names)):
                layer, (weight, bias) = reading.layers[index], reading.weights[index]
                below = values[-1] if values else as_given(layer, reading.rows)
                pre = kind_of(layer).forward(layer, weight, bias, below)
                values.append(activation_of(names[index]).apply(pre.clone()))
            out, last = as_rows(values[-1])[0], names
            reading.losses[names] = tuple(  # type: ignore[assignment]
                float(functional.mse_loss(given, target)) for given in (out, out + target)
            )


def score(reading: Trial, names: tuple[str, ...]) -> float:
    """Return the loss times the length of its gradient: that is small where a model was trained."""
    loss = reading.losses[names][0]
    if not math.isfinite(loss):
        return math.inf
    weights = [[tensor.clone().requires_grad_() for tensor in pair] for pair in reading.weights]
    value = as_given(reading.layers[0], reading.rows)
    for layer, (weight, bias), name in zip(reading.layers, weights, names, strict=True):
        value = activation_of(name).apply(kind_of(layer).forward(layer, weight, bias, value).clone())
    torch.autograd.backward(functional.mse_loss(as_rows(value), reading.rows))
    found = [tensor.grad for pair in weights for tensor in pair if tensor.grad is not None]
    return loss * float(torch.stack([each.square().sum() for each in found]).sum().sqrt())


def finite(loss: float) -> float:
    """Return a loss, infinite where it is not finite."""
    return loss if math.isfinite(loss) else math.inf


def filled(model: Pretrained, names: Sequence[str]) -> Pretrained:
    """Return a model with its activations."""
    layers = [
        layer._replace(activation=name) for layer, name in zip((*model.encoder, *model.decoder), names, strict=True)
    ]
    split = len(model.encoder)
    return replace(model, encoder=tuple(layers[:split]), decoder=tuple(layers[split:]))


def uniform(
    model: Pretrained, choices: Sequence[Sequence[str]], names: Sequence[str], outputs: Sequence[str] = OUTPUTS
) -> Iterator[tuple[str, ...]]:
    """Yield the choices in which all hidden layers have one activation of ``names``."""
    code, last = ends_of(model)
    for hidden in names:
        for latent, output in product({IDENTITY, hidden}, outputs):
            wanted = {code: latent, last: output}
            yield tuple(
                each if (each := wanted.get(index, hidden)) in options else options[0]
                for index, options in enumerate(choices)
            )


def is_uniform(model: Pretrained, names: Sequence[str]) -> bool:
    """Return whether all hidden layers whose activations are unknown have one, and the code that or none."""
    layers, (code, last) = (*model.encoder, *model.decoder), ends_of(model)
    unknown = [index for index, layer in enumerate(layers) if layer.activation == UNKNOWN and index != last]
    hidden = {names[index] for index in unknown if index != code}
    return len(hidden | ({names[code]} - {IDENTITY} if code in unknown else set())) <= 1


def words(model: Pretrained) -> str:
    """Return the activations of a model in words: ``relu, identity | relu, sigmoid``, encoder before decoder."""
    return " | ".join(
        ", ".join(layer.activation for layer in activated(part)) for part in (model.encoder, model.decoder)
    )


def ends_of(model: Pretrained) -> tuple[int, int]:
    """Return the places, of all layers, of the one that gives the code and of the one that gives the outputs."""
    layers = [*model.encoder, *model.decoder]
    code = max((index for index, layer in enumerate(model.encoder) if layer in activated(model.encoder)), default=0)
    last = [index for index, layer in enumerate(layers) if layer in activated(layers)] or [len(layers) - 1]
    return code, last[-1]


def activated(layers: Sequence[LayerShape]) -> list[LayerShape]:
    """Return the layers that can have an activation."""
    return [
        layer for layer in layers if layer.kind in ("dense", "lstm", "gru", "scale") or layer.kind.startswith("conv")
    ]
