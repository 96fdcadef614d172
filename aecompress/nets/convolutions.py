"""The torch side of convolutions and of layers that move values, for a whole population at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from aecompress.layers.base import BoundLayer, Shape
from aecompress.layers.conv import Conv
from aecompress.layers.conv_transpose import ConvTranspose
from aecompress.layers.reshape import Permute
from aecompress.nets.places import ChannelsFirst

aten = torch.ops.aten


class Kernels(NamedTuple):
    """What torch's own convolutions take of a layer."""

    shape: Shape
    """``(*kernel, channels of a group, groups, out of a group)``: the matrix's rows and columns by their axes."""
    order: Shape
    """Torch's order of these."""
    stride: Shape
    padding: Shape
    dilation: Shape
    transposed: bool
    output_padding: Shape
    groups: int


def kernels_of(layer: BoundLayer) -> Kernels:
    """Return the numbers of a layer's kernels."""
    own = cast("Conv | ConvTranspose", layer.layer)
    n, turned = own.axes, isinstance(own, ConvTranspose)
    return Kernels(
        shape=(*own.kernel, layer.given[-1] // own.groups, own.groups, layer.units // own.groups),
        order=(n + 1, n, n + 2, *range(n)) if turned else (n + 1, n + 2, n, *range(n)),
        stride=own.stride,
        padding=own.padding,
        dilation=own.dilation,
        transposed=turned,
        output_padding=own.output_padding if isinstance(own, ConvTranspose) else (0,) * n,
        groups=own.groups,
    )


def together(values: Tensor) -> Tensor:
    """Return values ``[P, B, *places, units]`` as those of one network, ``[B, P x units, *places]``."""
    return values.movedim(-1, 2).movedim(0, 1).flatten(1, 2)


def apart(values: Tensor, cells: int) -> Tensor:
    """Return values ``[B, P x units, *places]`` of so many cells, ``[P, B, *places, units]``."""
    return values.view(len(values), cells, -1, *values.shape[2:]).movedim(1, 0).movedim(2, -1)


def in_torch(own: Kernels, weight: Tensor) -> Tensor:
    """Return weights ``[P, fan_in, columns]`` as torch has those of one network with P times as many groups."""
    whole = weight.view(len(weight), *own.shape).permute(0, *(1 + at for at in own.order))
    return whole.flatten(0, 2).contiguous()  # torch's plain loops lay the gradient like the kernels, and then refuse it


@contextmanager
def rounded_as_products(device: torch.device) -> Iterator[None]:
    """Let a CUDA device round what it convolves only where it may round what it multiplies, and always to equal bits.

    Left alone, torch lets it round to TF32, and choose ways that add up in any order.
    """
    if device.type != "cuda":
        yield
        return
    library: Any = torch.backends.cudnn
    products = torch.backends.cuda.matmul
    before = library.conv.fp32_precision, library.deterministic
    library.conv.fp32_precision = "tf32" if products.fp32_precision == "tf32" else "ieee"
    library.deterministic = True
    try:
        yield
    finally:
        library.conv.fp32_precision, library.deterministic = before


def parts_of(cells: int, device: torch.device) -> list[slice]:
    """Return which cells are convolved together: on a CPU, whose library is slow in many groups, each by itself."""
    return [slice(cell, cell + 1) for cell in range(cells)] if device.type == "cpu" else [slice(0, cells)]


def conv_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Convolve every cell's values with its own kernels, or transpose that: ``[P, B, *places, out]``."""
    own, found = kernels_of(layer), []
    with rounded_as_products(below.device):
        for part in parts_of(len(weight), below.device):
            cells = len(weight[part])
            numbers = (own.stride, own.padding, own.dilation, own.transposed, own.output_padding, own.groups * cells)
            kernels = in_torch(own, weight[part])
            values = torch.convolution(together(below[part]), kernels, bias[part].flatten(), *numbers)
            found.append(apart(values, cells))
    return torch.cat(found) if len(found) > 1 else found[0]


def conv_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor, needed: bool
) -> Tensor | None:
    """Go backward through a convolution, or one that is transposed."""
    own, found = kernels_of(layer), []
    slope, axes = gradients[layer.name + ".weight"], [1 + int(at) for at in np.argsort(own.order)]
    torch.sum(delta.flatten(1, -2), 1, keepdim=True, out=gradients[layer.name + ".bias"])
    with rounded_as_products(below.device):
        for part in parts_of(len(weight), below.device):
            cells = len(weight[part])
            numbers = (own.stride, own.padding, own.dilation, own.transposed, own.output_padding, own.groups * cells)
            kernels = in_torch(own, weight[part])
            given, of_kernels, _ = aten.convolution_backward(
                together(delta[part]), together(below[part]), kernels, None, *numbers, [needed, True, False]
            )
            moved = of_kernels.view(cells, *(own.shape[at] for at in own.order)).permute(0, *axes)
            slope[part].view(cells, *own.shape).copy_(moved)
            if needed:
                found.append(apart(given, cells))
    if not needed:
        return None
    return torch.cat(found) if len(found) > 1 else found[0]


def conv_module(layer: BoundLayer) -> nn.Module:
    """Return ``nn.Conv1d`` or ``nn.Conv2d`` between rows."""
    conv = cast(Conv, layer.layer)
    made: Any = {1: nn.Conv1d, 2: nn.Conv2d}[conv.axes]
    numbers = (conv.kernel, conv.stride, conv.padding, conv.dilation, conv.groups)
    return ChannelsFirst(layer, made(layer.given[-1], layer.units, *numbers))


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
