"""The model in plain NumPy: what every exported file is compared with, independent of torch and of onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats, Model
from aecompress.layers.activations import activation_of
from aecompress.layers.base import BoundLayer
from aecompress.polling import Poll, no_poll

Doubles = NDArray[np.float64]
CHUNK_VALUES = 1 << 20
"""Values of a layer computed at once, so that memory stays bounded and a stop is obeyed."""
COMPARED_VALUES = 1 << 18
"""Values that are compared at once, for the same reason."""
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
    out: Doubles | None = None
    for first in range(0, max(len(rows), 1), chunk):
        poll()
        values = np.asarray(rows[first : first + chunk], dtype=dtype)
        for layer, (weight, bias) in zip(layers, cast, strict=True):
            values = activation_of(layer.activation).value(layer.layer.reference(values, weight, bias))
        if out is None:
            out = np.empty((len(rows), *values.shape[1:]), values.dtype)
        out[first : first + chunk] = values
    assert out is not None
    return out


def row_losses(name: str, out: Floats | Doubles, rows: Floats) -> Doubles:
    """Return the mean loss of each row, ``[N, *shape]`` -> ``[N]``."""
    means = np.empty(len(rows))
    for part in parts_of(rows):
        found = LOSSES[name](out[part].astype(np.float64, copy=False), rows[part].astype(np.float64))
        means[part] = found.reshape(len(found), -1).mean(1)
    return means


def parts_of(rows: NDArray[Any], values: int = COMPARED_VALUES) -> Iterator[slice]:
    """Yield stretches of rows ``[N, *shape]`` of so many ``values``, so that little is made of them at once."""
    step = max(1, values // max(math.prod(rows.shape[1:]), 1))
    for first in range(0, len(rows), step):
        yield slice(first, min(first + step, len(rows)))


def largest_difference(one: NDArray[Any], other: NDArray[Any]) -> Doubles:
    """Return the largest absolute difference of each value of a row, over all rows ``[N, *shape]``: ``[*shape]``."""
    largest: Doubles = np.zeros(one.shape[1:])
    for part in parts_of(one):
        apart = np.abs(one[part].astype(np.float64, copy=False) - other[part])
        largest = np.maximum(largest, apart.max(axis=0))
    return largest


def reconstruct(
    model: Model,
    rows: Floats,
    dtype: type[np.floating[Any]] = np.float64,
    poll: Poll = no_poll,
) -> tuple[Doubles, Doubles]:
    """Return latent codes and reconstructions of ``rows`` ``[N, *shape]``, computed in ``dtype``."""
    latent = run(model.encoder, model.tensors, rows, dtype, poll)
    return latent, run(model.decoder, model.tensors, latent, dtype, poll)
