"""Rounding the weights of a layer so that its outputs, not its weights, stay near: what is left over is carried on.

Weights are rounded input by input, the strongest first; the error of each is spread over the weights not yet rounded
by the inverse of the inputs' second moments (GPTQ, Frantar et al. 2023, algorithm 1; optimal brain surgeon, Hassibi &
Stork 1993), except that zeros stay zeros. Biases then take up what is left of the mean error of each output. The inputs
of a convolution are what its kernel covers; other layers are rounded to the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain, Weighted
from aecompress.deploy.grid import Grid, grid_of
from aecompress.layers.activations import activation_of
from aecompress.layers.conv import Conv
from aecompress.layers.conv_transpose import ConvTranspose
from aecompress.layers.scale import Scale

MOST_CASES = 1 << 15
"""Places of rows that the inputs of a convolution are taken from."""
DAMPING = 0.01
"""Share of the mean second moment added to each: inputs that hardly vary must not take up large errors."""
Doubles = NDArray[np.float64]


def compensated(chain: Chain, rows: Floats, values: str | Mapping[str, str]) -> tuple[Chain, dict[str, Grid]]:
    """Put the weights of a chain on the grids of ``values``, rounded for inputs like ``rows`` ``[N, width]``.

    Args:
        values: of all layers, or of each by its name.

    Returns:
        The rounded chain, and the grid of each weight by name.
    """
    exact = np.asarray(rows if chain.reads is None else rows[:, chain.reads], np.float64)
    given, layers, grids = exact, [], {}
    for layer in chain.layers:
        form = values if isinstance(values, str) else values[layer.name]
        grid = grid_of(layer.weight, form) if layer.weight.size else None
        near = layer
        if grid is not None:
            rounded = grid.value(grid.codes(layer.weight)) * (layer.weight != 0)
            seen = read_by_columns(layer, given)
            weight = rounded if seen is None else carried(layer.weight, seen, grid)
            near = replace(layer, weight=weight)
            grids[f"{layer.name}.weight"] = grid
        wanted, got = layer.before(exact), near.before(given)
        if adds_its_bias(layer):
            change = (wanted - got).reshape(-1, len(layer.bias)).mean(0)
            bias = (layer.bias + change).astype(np.float32)
            near, moved = replace(near, bias=bias), bias - layer.bias
            got = got + (moved.reshape(got.shape[1:]) if layer.product else moved)
        layers.append(near)
        exact = activation_of(layer.activation).value(wanted)
        given = activation_of(layer.activation).value(got)
    return replace(chain, layers=tuple(layers)), grids


def read_by_columns(layer: Weighted, given: Doubles) -> Doubles | None:
    """Return what a layer's columns read of ``given`` ``[N, *given]``, ``[cases, fan_in]``; None: it is no product.

    A convolution reads what its kernel covers, at every place.
    """
    inner = layer.bound.layer
    if layer.product:
        return given.reshape(len(given), -1)
    if not isinstance(inner, Conv) or inner.groups > 1:
        return None
    places = math.prod(layer.bound.gives[:-1])
    some = given[: max(MOST_CASES // places, 1)]
    return inner.covered(some).reshape(-1, len(layer.weight)).astype(np.float64, copy=False)


def adds_its_bias(layer: Weighted) -> bool:
    """Return whether a layer gives its bias added to a sum, so that it can make up for a mean error."""
    return layer.product or isinstance(layer.bound.layer, Conv | ConvTranspose | Scale)


def carried(weight: Floats, given: Doubles, grid: Grid) -> Floats:
    """Put ``weight`` ``[in, out]`` on the ``grid``, for inputs ``given`` ``[N, in]``."""
    moments = given.T @ given / len(given)
    moments += np.eye(len(moments)) * (DAMPING * np.trace(moments) / len(moments) + 1e-12)
    order = np.argsort(-np.diag(moments), kind="stable")
    # The upper Cholesky factor of the inverse holds every inverse that is left as inputs are taken away.
    factor = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    left, kept = weight[order].astype(np.float64), weight[order] != 0
    result = np.zeros_like(weight)
    for row, place in enumerate(order):
        result[place] = np.where(kept[row], grid.value(grid.codes(left[row])), 0)
        error = np.where(kept[row], left[row] - result[place], 0) / factor[row, row]
        left[row + 1 :] -= np.outer(factor[row, row + 1 :], error)
        left[row + 1 :] *= kept[row + 1 :]
    return result
