"""The model in plain NumPy: what every exported file is compared with, independent of torch and of onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from aecompress.deploy.checkpoint import Floats, LayerShape, Model

Doubles = NDArray[np.float64]
CHUNK_VALUES = 1 << 22
"""Values of a layer computed at once, so that memory stays bounded and a stop is obeyed."""
SATURATED = 1e-6
"""Cross-entropy takes outputs no nearer to 0 and 1, as in training."""

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
    "bce": lambda out, rows: _bce(np.clip(out, SATURATED, 1 - SATURATED), rows),
    "huber": lambda out, rows: np.where(np.abs(out - rows) <= 1, 0.5 * np.square(out - rows), np.abs(out - rows) - 0.5),
}


def _bce(out: Doubles, rows: Doubles) -> Doubles:
    result: Doubles = -(rows * np.log(out) + (1 - rows) * np.log1p(-out))
    return result


def run(
    layers: Sequence[LayerShape],
    tensors: Mapping[str, Floats],
    rows: Floats | Doubles,
    dtype: type[np.floating[Any]] = np.float64,
    poll: Callable[[], None] = lambda: None,
) -> Doubles:
    """The chain's output on ``rows`` ``[N, in]``, computed in ``dtype``; ``poll``, called often, may raise to stop."""
    cast = [
        (tensors[layer.name + ".weight"].T.astype(dtype), tensors[layer.name + ".bias"].astype(dtype))
        for layer in layers
    ]
    chunk = max(1, CHUNK_VALUES // max(max(layer.inputs, layer.outputs) for layer in layers))
    parts = []
    for first in range(0, max(len(rows), 1), chunk):
        poll()
        values = np.asarray(rows[first : first + chunk], dtype=dtype)
        for layer, (weight, bias) in zip(layers, cast, strict=True):
            values = ACTIVATIONS[layer.activation](values @ weight + bias)
        parts.append(values)
    return np.concatenate(parts)


def reconstruct(
    model: Model,
    rows: Floats,
    dtype: type[np.floating[Any]] = np.float64,
    poll: Callable[[], None] = lambda: None,
) -> tuple[Doubles, Doubles]:
    """Latent codes and reconstructions of ``rows`` ``[N, D]``, computed in ``dtype``."""
    latent = run(model.encoder, model.tensors, rows, dtype, poll)
    return latent, run(model.decoder, model.tensors, latent, dtype, poll)
