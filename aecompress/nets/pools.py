"""The torch side of pools, upsampling and scales, for a whole population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from torch import Tensor
from torch.nn import functional

from aecompress.layers.base import BoundLayer
from aecompress.layers.pool import Pool, Upsample

MAX = {1: functional.max_pool1d, 2: functional.max_pool2d}
MEAN = {1: functional.avg_pool1d, 2: functional.avg_pool2d}
"""By axes of places."""


def first(values: Tensor) -> Tensor:
    """Return values ``[P, B, *places, units]`` as ``[P x B, units, *places]``."""
    return values.flatten(0, 1).movedim(-1, 1)


def last(values: Tensor, cells: int) -> Tensor:
    """Return values ``[P x B, units, *places]`` of so many cells as ``[P, B, *places, units]``."""
    result: Tensor = values.view(cells, -1, *values.shape[1:]).movedim(2, -1)
    return result


def pool_forward(
    by_axes: Mapping[int, Callable[..., Tensor]],
) -> Callable[[BoundLayer, Tensor, Tensor, Tensor], Tensor]:
    """Return the forward pass of a pool."""

    def forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
        numbers = cast(Pool, layer.layer).windows(layer.given)
        return last(by_axes[len(numbers.kernel)](first(below), *numbers), len(below))

    return forward


def global_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return the mean over all places, ``[P, B, units]``."""
    return below.flatten(2, -2).mean(2)


def upsample_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return more places, ``[P, B, *places, units]``."""
    upsample = cast(Upsample, layer.layer)
    factors = upsample.factors(layer.given)
    if upsample.mode == "nearest":
        for axis, times in enumerate(factors, 2):
            below = below.repeat_interleave(times, axis)
        return below
    mode = "linear" if len(factors) == 1 else "bilinear"
    return last(functional.interpolate(first(below), layer.gives[:-1], mode=mode, align_corners=False), len(below))


def scale_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Compute ``below * weight + bias`` of each unit, ``[P, B, *places, units]``."""
    over = (len(weight), 1, *[1] * (len(layer.given) - 1), layer.units)
    return below * weight.view(over) + bias.view(over)
