"""The torch side of convolutions and of layers that move values, for a whole population at once."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from aecompress.layers.base import BoundLayer
from aecompress.layers.conv import Conv
from aecompress.layers.conv_transpose import ConvTranspose
from aecompress.layers.reshape import Permute
from aecompress.nets.places import ChannelsFirst

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d}
TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}
"""By axes of places."""


def together(values: Tensor) -> Tensor:
    """Return values ``[P, B, *places, units]`` as those of one network, ``[B, P x units, *places]``."""
    return values.movedim(-1, 2).movedim(0, 1).flatten(1, 2)


def apart(values: Tensor, cells: int) -> Tensor:
    """Return values ``[B, P x units, *places]`` of so many cells, ``[P, B, *places, units]``."""
    return values.view(len(values), cells, -1, *values.shape[2:]).movedim(1, 0).movedim(2, -1)


def conv_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Convolve every cell's values with its own kernels, ``[P, B, *places, out]``: one convolution in P x groups."""
    conv, cells = cast(Conv, layer.layer), len(weight)
    kernels = weight.view(cells, *conv.kernel, -1, layer.units).permute(0, *(1 + at for at in conv.order))
    values = CONVOLVE[conv.axes](
        together(below),
        kernels.flatten(0, 1),
        bias.flatten(),
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups * cells,
    )
    return apart(values, cells)


def conv_module(layer: BoundLayer) -> nn.Module:
    """Return ``nn.Conv1d`` or ``nn.Conv2d`` between rows."""
    conv = cast(Conv, layer.layer)
    made: Any = {1: nn.Conv1d, 2: nn.Conv2d}[conv.axes]
    numbers = (conv.kernel, conv.stride, conv.padding, conv.dilation, conv.groups)
    return ChannelsFirst(layer, made(layer.given[-1], layer.units, *numbers))


def transpose_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Convolve backward, every cell's values with its own kernels, ``[P, B, *places, out]``."""
    conv, cells = cast(ConvTranspose, layer.layer), len(weight)
    whole, order, shape = conv.layout(layer.given)
    kernels = weight.view(cells, *whole).permute(0, *(1 + at for at in order)).reshape(cells, *shape)
    values = TRANSPOSE[conv.axes](
        together(below),
        kernels.flatten(0, 1),
        bias.flatten(),
        conv.stride,
        conv.padding,
        conv.output_padding,
        conv.groups * cells,
        conv.dilation,
    )
    return apart(values, cells)


def transpose_module(layer: BoundLayer) -> nn.Module:
    """Return ``nn.ConvTranspose1d`` or ``nn.ConvTranspose2d`` between rows."""
    conv = cast(ConvTranspose, layer.layer)
    made: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}[conv.axes]
    numbers = (conv.kernel, conv.stride, conv.padding, conv.output_padding, conv.groups, True, conv.dilation)
    return ChannelsFirst(layer, made(layer.given[-1], layer.units, *numbers))


def reshape_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return the values ``[P, B, *gives]`` in their order."""
    return below.reshape(*below.shape[:2], *layer.gives)


def permute_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return the values with their axes moved, ``[P, B, *gives]``."""
    return below.permute(0, 1, *(axis + 2 for axis in cast(Permute, layer.layer).axes))
