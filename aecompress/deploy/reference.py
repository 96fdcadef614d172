"""The model in plain NumPy: what every exported file is compared with, independent of torch and of onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from aecompress.deploy.checkpoint import Floats, LayerShape, Model

Doubles = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[Doubles], Doubles]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "tanh": np.tanh,
    "sigmoid": expit,
}

LOSSES: dict[str, Callable[[Doubles, Doubles], Doubles]] = {
    "l1": lambda out, rows: np.abs(out - rows),
    "mse": lambda out, rows: np.square(out - rows),
    "bce": lambda out, rows: -(rows * _log(out) + (1 - rows) * _log(1 - out)),
    "huber": lambda out, rows: np.where(np.abs(out - rows) <= 1, 0.5 * np.square(out - rows), np.abs(out - rows) - 0.5),
}


def _log(values: Doubles) -> Doubles:
    with np.errstate(divide="ignore"):
        result: Doubles = np.maximum(np.log(values), -100)  # the floor torch's cross-entropy has
    return result


def run(
    layers: Sequence[LayerShape],
    tensors: Mapping[str, Floats],
    rows: Floats | Doubles,
    dtype: type[np.floating[Any]] = np.float64,
) -> Doubles:
    """The chain's output on ``rows`` ``[N, in]``, computed in ``dtype``."""
    values = np.asarray(rows, dtype=dtype)
    for layer in layers:
        weight, bias = tensors[layer.name + ".weight"], tensors[layer.name + ".bias"]
        values = ACTIVATIONS[layer.activation](values @ weight.T.astype(dtype) + bias.astype(dtype))
    return values


def reconstruct(model: Model, rows: Floats, dtype: type[np.floating[Any]] = np.float64) -> tuple[Doubles, Doubles]:
    """Latent codes and reconstructions of ``rows`` ``[N, D]``, computed in ``dtype``."""
    latent = run(model.encoder, model.tensors, rows, dtype)
    return latent, run(model.decoder, model.tensors, latent, dtype)


def rounding(model: Model, rows: Floats) -> tuple[float, float]:
    """How far float32 arithmetic alone moves latent codes and reconstructions of ``rows``: largest differences."""
    exact, single = reconstruct(model, rows), reconstruct(model, rows, np.float32)
    return float(np.abs(exact[0] - single[0]).max()), float(np.abs(exact[1] - single[1]).max())
