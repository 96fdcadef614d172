"""What every reader returns: an autoencoder as a chain of layers, of which other programs' files hold linear ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats
from aecompress.errors import DataError
from aecompress.layers.dense import Dense

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""Number formats that weights may have."""
UNKNOWN = ""
"""The activation of a layer where the file has none: a file of weights holds no activations."""


class Linear(NamedTuple):
    """A linear layer as a file holds it."""

    name: str
    weight: NDArray[Any]
    """``[fan_in, columns]``."""
    bias: NDArray[Any]
    """``[columns]``."""
    activation: str
    """What follows the layer; :data:`UNKNOWN` where the file has none."""


class LayerShape(NamedTuple):
    """A layer without its weights, named as ours."""

    name: str
    inputs: int
    """Values that it is given."""
    outputs: int
    """Units."""
    activation: str
    """:data:`UNKNOWN` where the file has none."""
    kind: str = Dense.kind
    numbers: Mapping[str, Any] = MappingProxyType({})
    """What else ``config.json`` says of a layer of its kind."""


class Norm(NamedTuple):
    """What a batch norm, which was folded into the layers, says of the values that it was given in training."""

    layer: int
    """Of all layers of the chain, the one whose values they are."""
    early: bool
    """Whether they are those before the layer's activation."""
    mean: NDArray[Any]
    """``[units]``; the running mean and variance, then the gain and shift that follow."""
    variance: NDArray[Any]
    gain: NDArray[Any]
    shift: NDArray[Any]
    batches: float
    """Over which the averages run; inf: over many."""


@dataclass(frozen=True)
class Pretrained:
    """An autoencoder trained elsewhere: layers and tensors named as ours, activations where the file has them."""

    inputs: int
    """Values of a row."""
    encoder: tuple[LayerShape, ...]
    decoder: tuple[LayerShape, ...]
    tensors: Mapping[str, Floats]
    """float32, weights ``[fan_in, columns]`` and biases ``[columns]``, by names such as ``encoder.0.weight``."""
    notes: tuple[str, ...] = ()
    """What was assumed, or left out, a sentence each."""
    pruned: bool = False
    """Whether weights of it that are 0 are pruned, and stay so."""
    norms: tuple[Norm, ...] = ()
    """The batch norms that were folded into its layers, where these have the values that they were given."""
    usual: tuple[str, ...] = ()
    """Activations that the library has whose names its tensors have; (): it is not known."""
    others: tuple[Pretrained, ...] = ()
    """Other models that the file may hold as well: which one is tried on rows."""


def divided(model: Pretrained, count: int) -> Pretrained:
    """Return a model whose encoder is its first ``count`` layers; names of layers and tensors follow."""
    layers = (*model.encoder, *model.decoder)
    new = [f"encoder.{index}" if index < count else f"decoder.{index - count}" for index in range(len(layers))]
    names = {layer.name: name for layer, name in zip(layers, new, strict=True)}
    renamed = [layer._replace(name=names[layer.name]) for layer in layers]
    tensors = dict[str, Floats]()
    for name, tensor in model.tensors.items():
        layer, _, end = name.rpartition(".")
        tensors[f"{names.get(layer, layer)}.{end}"] = tensor
    return replace(model, encoder=tuple(renamed[:count]), decoder=tuple(renamed[count:]), tensors=tensors)


def chained(path: Path, layers: Sequence[Linear]) -> Pretrained:
    """Make an encoder and a decoder of layers that follow each other.

    Raises:
        DataError: a layer does not fit the one before it, the chain is not an autoencoder, or a value is not usable.
    """
    _check_chain(path, layers)
    split = _decoder_start(layers)
    shapes, tensors = list[LayerShape](), dict[str, Floats]()
    for index, layer in enumerate(layers):
        name = f"encoder.{index}" if index < split else f"decoder.{index - split}"
        inputs, outputs = layer.weight.shape
        shapes.append(LayerShape(name=name, inputs=inputs, outputs=outputs, activation=layer.activation))
        tensors[f"{name}.weight"] = as_float32(path, layer.name, layer.weight)
        tensors[f"{name}.bias"] = as_float32(path, layer.name, layer.bias)
    return Pretrained(
        inputs=len(layers[0].weight), encoder=tuple(shapes[:split]), decoder=tuple(shapes[split:]), tensors=tensors
    )


def _check_chain(path: Path, layers: Sequence[Linear]) -> None:
    for layer, after in pairwise(layers):
        if layer.weight.shape[1] != len(after.weight):
            raise DataError(
                f"{path}: {layer.name} has {layer.weight.shape[1]} outputs, {after.name} {len(after.weight)} inputs; "
                "layers must follow each other"
            )
    inputs, outputs = len(layers[0].weight), layers[-1].weight.shape[1]
    if len(layers) < 2 or outputs != inputs:
        raise DataError(
            f"{path}: goes from {inputs} to {outputs} values in {len(layers)} layer(s); "
            "an autoencoder reconstructs its inputs from a latent code"
        )


def _decoder_start(layers: Sequence[Linear]) -> int:
    """Return the index of the decoder's first layer: by name, or after the narrowest layer."""
    named = [index for index, layer in enumerate(layers) if "decoder" in layer.name.lower()]
    widths = [layer.weight.shape[1] for layer in layers[:-1]]
    return named[0] if named and named[0] > 0 else int(np.argmin(widths)) + 1


def as_float32(path: Path, name: str, tensor: NDArray[Any]) -> Floats:
    """Return a tensor in float32.

    Raises:
        DataError: it holds no floating-point numbers, or numbers that are not finite.
    """
    if tensor.dtype.name not in FLOATS:
        raise DataError(f"{path}: {name} holds {tensor.dtype}; floating-point weights are needed")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(tensor, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {name} holds values that are not finite in float32; train it again")
    return values
