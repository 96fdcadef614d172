"""The torch side of prelu, for a whole population at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aecompress.layers.base import BoundLayer
from aecompress.nets.places import ChannelsFirst

FIRST_SLOPE = 0.25
"""What torch's module begins with too."""


def slopes_of(weight: Tensor, like: Tensor) -> Tensor:
    """Return slopes ``[P, 1, units]`` so that they meet values ``[P, B, *places, units]``."""
    return weight.view(len(weight), *[1] * (like.ndim - 2), -1)


def prelu_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return x where it is positive, else x times its slope, ``[P, B, *places, units]``."""
    return torch.where(below > 0, below, below * slopes_of(weight, below))


def prelu_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor, needed: bool
) -> Tensor | None:
    """Go backward through it."""
    negative = torch.where(below > 0, 0, below).mul_(delta)
    torch.sum(negative.flatten(1, -2), 1, keepdim=True, out=gradients[layer.name + ".weight"])
    return torch.where(below > 0, delta, delta * slopes_of(weight, below)) if needed else None


def prelu_module(layer: BoundLayer) -> nn.Module:
    """Return ``nn.PReLU``, between rows where the layer has places."""
    inner = nn.PReLU(layer.units)
    return ChannelsFirst(layer, inner) if len(layer.given) > 1 else inner
