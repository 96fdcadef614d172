"""The model in plain NumPy: what every exported file is compared with, independent of torch and of onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats, Model
from aecompress.layers.activations import ACTIVATIONS
from aecompress.layers.base import BoundLayer
from aecompress.polling import Poll, no_poll

Doubles = NDArray[np.float64]
CHUNK_VALUES = 1 << 22
"""Values of a layer computed at once, so that memory stays bounded and a stop is obeyed."""
SATURATED = 1e-6
"""Cross-entropy takes outputs no nearer to 0 and 1, as in training."""

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
    layers: Sequence[BoundLayer],
    tensors: Mapping[str, Floats],
    rows: Floats | Doubles,
    dtype: type[np.floating[Any]] = np.float64,
    poll: Poll = no_poll,
) -> Doubles:
    """Compute the output on ``rows`` ``[N, *given]`` in ``dtype``; ``poll``, called often, may raise to stop."""
    cast = [
        (tensors[layer.name + ".weight"].astype(dtype, order="F"), tensors[layer.name + ".bias"].astype(dtype))
        for layer in layers
    ]
    widest = max(math.prod(shape) for layer in layers for shape in (layer.given, layer.gives))
    chunk = max(1, CHUNK_VALUES // widest)
    parts = []
    for first in range(0, max(len(rows), 1), chunk):
        poll()
        values = np.asarray(rows[first : first + chunk], dtype=dtype)
        for layer, (weight, bias) in zip(layers, cast, strict=True):
            values = ACTIVATIONS[layer.activation].value(layer.layer.reference(values, weight, bias))
        parts.append(values)
    return np.concatenate(parts)


def row_losses(name: str, out: Doubles, rows: Floats) -> Doubles:
    """Return the mean loss of each row, ``[N, *shape]`` -> ``[N]``."""
    means: Doubles = LOSSES[name](out, rows.astype(np.float64)).reshape(len(rows), -1).mean(1)
    return means


def reconstruct(
    model: Model,
    rows: Floats,
    dtype: type[np.floating[Any]] = np.float64,
    poll: Poll = no_poll,
) -> tuple[Doubles, Doubles]:
    """Return latent codes and reconstructions of ``rows`` ``[N, *shape]``, computed in ``dtype``."""
    latent = run(model.encoder, model.tensors, rows, dtype, poll)
    return latent, run(model.decoder, model.tensors, latent, dtype, poll)
