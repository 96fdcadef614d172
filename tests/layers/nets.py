"""Networks of kinds with places, for the contract of these: each as users write it, between permute and reshape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from aecompress.deploy.checkpoint import Model, shapes_of
from aecompress.layers.base import Layer
from aecompress.layers.conv import Conv1d, Conv2d
from aecompress.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from aecompress.layers.dense import Dense
from aecompress.layers.pool import AvgPool, GlobalAvgPool, MaxPool, Upsample
from aecompress.layers.prelu import Prelu
from aecompress.layers.recurrent import Gru, Lstm, Repeat
from aecompress.layers.reshape import Flatten, Permute, Reshape, Unflatten
from aecompress.layers.scale import Scale
from aecompress.nets.shapes import Autoencoder, build

Parts = tuple[list[Layer], list[Layer], tuple[int, ...]]


def images() -> Parts:
    """Rows (6, 5): convolutions, one with stride, to a dense code; dense places and a convolution back."""
    encoder: list[Layer] = [
        Reshape("encoder.0", (6, 5, 1)),
        Conv2d("encoder.1", 4, "relu", (3,), padding=(1,)),
        Conv2d("encoder.2", 5, "tanh", (3, 2), stride=(2, 1), padding=(0, 1)),
        Dense("encoder.3", 3, "identity"),
    ]
    decoder: list[Layer] = [
        Dense("decoder.0", 4, "relu", (6, 5)),
        Conv2d("decoder.1", 3, "relu", (3,), padding=(2,), dilation=(2,)),
        Conv2d("decoder.2", 1, "identity", (1,)),
        Reshape("decoder.3", (6, 5), "sigmoid"),
    ]
    return encoder, decoder, (6, 5)


def colours() -> Parts:
    """Rows (2, 4, 4), as torch has them, with a depthwise and a grouped convolution and a code with places."""
    encoder: list[Layer] = [
        Permute("encoder.0", (1, 2, 0)),
        Conv2d("encoder.1", 4, "relu", (2,)),
        Conv2d("encoder.2", 4, "relu", (2,), padding=(1,), groups=4),
        Conv2d("encoder.3", 2, "identity", (1,)),
    ]
    decoder: list[Layer] = [
        Conv2d("decoder.0", 4, "relu", (3,), padding=(1,)),
        Conv2d("decoder.1", 6, "relu", (1,), groups=2),
        Conv2d("decoder.2", 2, "sigmoid", (1,)),
        Permute("decoder.3", (2, 0, 1)),
    ]
    return encoder, decoder, (2, 4, 4)


def series() -> Parts:
    """Rows (7, 2): convolutions along a series, the code dense."""
    encoder: list[Layer] = [
        Conv1d("encoder.0", 4, "relu", (3,), padding=(1,)),
        Conv1d("encoder.1", 3, "relu", (3,), stride=(2,)),
        Dense("encoder.2", 2, "identity"),
    ]
    decoder: list[Layer] = [
        Dense("decoder.0", 4, "relu", (9,)),
        Conv1d("decoder.1", 2, "sigmoid", (3,)),
    ]
    return encoder, decoder, (7, 2)


def slopes() -> Parts:
    """Rows (6, 2): a slope for each channel, and for each unit of the dense code."""
    encoder: list[Layer] = [
        Conv1d("encoder.0", 4, "identity", (3,)),
        Prelu("encoder.1"),
        Dense("encoder.2", 5, "identity"),
        Prelu("encoder.3"),
        Dense("encoder.4", 2, "identity"),
    ]
    decoder: list[Layer] = [
        Dense("decoder.0", 4, "identity", (6,)),
        Prelu("decoder.1"),
        Conv1d("decoder.2", 2, "sigmoid", (3,), padding=(1,)),
    ]
    return encoder, decoder, (6, 2)


def pooled() -> Parts:
    """Rows (8, 8): pools between convolutions, dense places and transposed convolutions back."""
    encoder: list[Layer] = [
        Reshape("encoder.0", (8, 8, 1)),
        Conv2d("encoder.1", 4, "relu", (3,), padding=(1,)),
        MaxPool("encoder.2", (2,)),
        Scale("encoder.3", "tanh"),
        Conv2d("encoder.4", 6, "relu", (3,), padding=(1,)),
        AvgPool("encoder.5", (3,), (2,), (1,)),
        Dense("encoder.6", 3, "identity"),
    ]
    decoder: list[Layer] = [
        Dense("decoder.0", 6, "relu", (2, 2)),
        ConvTranspose2d("decoder.1", 4, "relu", (3,), (2,), (1,), (1,)),
        ConvTranspose2d("decoder.2", 1, "sigmoid", (2,), (2,)),
        Reshape("decoder.3", (8, 8)),
    ]
    return encoder, decoder, (8, 8)


def waves() -> Parts:
    """Rows (12, 2): a series to the mean of its channels, and back by upsampling."""
    encoder: list[Layer] = [
        Conv1d("encoder.0", 4, "relu", (3,)),
        MaxPool("encoder.1", (3,), (2,), activation="tanh"),
        Conv1d("encoder.2", 4, "relu", (1,)),
        GlobalAvgPool("encoder.3"),
        Dense("encoder.4", 2, "identity"),
    ]
    decoder: list[Layer] = [
        Dense("decoder.0", 4, "relu", (3,)),
        Upsample("decoder.1", (2,)),
        ConvTranspose1d("decoder.2", 4, "relu", (3,), padding=(1,), groups=4),
        Upsample("decoder.3", (2,), "linear"),
        ConvTranspose1d("decoder.4", 2, "sigmoid", (3,), padding=(1,)),
    ]
    return encoder, decoder, (12, 2)


def places_code() -> Parts:
    """Rows (4, 4, 2): a code that is flat for whoever reads it, and places again."""
    encoder: list[Layer] = [
        Conv2d("encoder.0", 4, "relu", (2,), stride=(2,)),
        Conv2d("encoder.1", 2, "identity", (1,)),
        Flatten("encoder.2"),
    ]
    decoder: list[Layer] = [
        Unflatten("decoder.0", (2, 2, 2)),
        ConvTranspose2d("decoder.1", 4, "relu", (2,), (2,), groups=2),
        Upsample("decoder.2", (1,), "linear"),
        Conv2d("decoder.3", 2, "sigmoid", (1,)),
    ]
    return encoder, decoder, (4, 4, 2)


def steps(kind: type[Lstm | Gru]) -> Parts:
    """Rows (6, 3): two recurrent layers to a dense code, which is repeated and decoded step by step."""
    encoder: list[Layer] = [
        kind("encoder.0", 5),
        kind("encoder.1", 4, sequences=False),
        Dense("encoder.2", 2, "identity"),
    ]
    decoder: list[Layer] = [
        Repeat("decoder.0", 6),
        kind("decoder.1", 5, "relu"),
        Conv1d("decoder.2", 3, "identity", (1,)),
    ]
    return encoder, decoder, (6, 3)


NETS: dict[str, Callable[[], Parts]] = {
    "images": images,
    "colours": colours,
    "series": series,
    "pooled": pooled,
    "waves": waves,
    "places code": places_code,
    "lstm": partial(steps, Lstm),
    "gru": partial(steps, Gru),
    "slopes": slopes,
}


SHAPED = {layer.kind for make in NETS.values() for part in make()[:2] for layer in part}
"""The kinds that these have."""


def net_of(name: str) -> Autoencoder:
    """The network of that name."""
    return build(*NETS[name]())


def model_of(net: Autoencoder, seed: int, density: float = 1.0) -> Model:
    """A model with random weights; below a density of 1 also whole units left out, and biases."""
    random, tensors = np.random.default_rng(seed), {}
    for layer in net.layers:
        weight, bias = (random.normal(size=shape) for shape in shapes_of(layer))
        if layer.weighted and density < 1:
            weight *= random.random(weight.shape) < density
            weight *= (random.random(layer.units) < 0.6)[layer.matrix.writes]
            everything = layer.matrix.below + layer.matrix.units + 1
            weight *= (random.random(everything) < 0.7)[layer.matrix.reads]
            bias *= random.random(bias.shape) < 0.7
        tensors[layer.name + ".weight"], tensors[layer.name + ".bias"] = (
            part.astype(np.float32) for part in (weight, bias)
        )
    scaling = {"kind": "none", "offset": 0.0, "divisor": 1.0}
    return Model(encoder=net.encoder, decoder=net.decoder, tensors=tensors, scaling=scaling, about={})


def flat_of(net: Autoencoder, seed: int, cells: int = 3) -> torch.Tensor:
    """Weights of a population, ``[P, n]`` in double."""
    return torch.randn((cells, net.layout.size), generator=torch.Generator().manual_seed(seed)).double() * 0.4


def rows_of(net: Autoencoder, count: int = 7) -> np.ndarray:
    """Rows on both sides of zero, in their shape."""
    return np.random.default_rng(1).normal(size=(count, *net.shape)).astype(np.float32)
