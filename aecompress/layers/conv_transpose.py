"""Transposed convolutions: every value below adds its kernel to the places around it, so that there are more places.

The matrix is that of a convolution, a row for each place of the kernel and channel below, places first, so that a
channel is a column here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from aecompress.errors import SpecError
from aecompress.layers.activations import check_activation
from aecompress.layers.base import Draft, Matrix, Shape, Values
from aecompress.layers.kernels import by_blocks, check_given, check_groups, in_words, kernel_matrix, per_axis


@dataclass(frozen=True)
class ConvTranspose:
    """What :class:`ConvTranspose1d` and :class:`ConvTranspose2d` have in common; numbers per axis, or one for all."""

    kind: ClassVar[str]
    axes: ClassVar[int]
    """Axes of places."""
    flattens: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    out: int
    """Channels that it gives."""
    activation: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0,)
    """Places that are taken off at each end of an axis."""
    output_padding: tuple[int, ...] = (0,)
    """Places that are added at the far end of an axis."""
    dilation: tuple[int, ...] = (1,)
    groups: int = 1
    """Parts of the channels below, each read by as many of the layer's; as many as channels: a channel reads one."""

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)
        for field, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)):
            object.__setattr__(self, field, per_axis(self.name, field, getattr(self, field), self.axes, least))
        check_groups(self.name, self.out, self.groups)
        for more, stride, step in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(stride, step):
                raise SpecError(
                    f"model: layer {self.name} ({self.kind}): output_padding = {list(self.output_padding)} is not "
                    f"below its stride; make it smaller"
                )

    @property
    def pads(self) -> bool:
        """Return whether places read different parts of the kernel: all kernels but single values do."""
        single = all(number == 1 for number in (*self.kernel, *self.stride))
        return not single or any(self.padding)

    def shape(self, of: Shape) -> Shape:
        """Return ``(*places, out)``."""
        places = check_given(self.name, self.kind, of, self.axes, self.groups)
        gives = tuple(
            size - 2 * pad + more
            for size, pad, more in zip(self.reach(places), self.padding, self.output_padding, strict=True)
        )
        if min(gives) < 1:
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) takes {in_words(self.padding)} places off each end, which "
                f"leaves none of rows of shape {list(of)}; make its padding smaller"
            )
        return (*gives, self.out)

    def reach(self, places: Shape) -> Shape:
        """Return the places that kernels at these ``places`` add to, before any are taken off or added."""
        numbers = zip(places, self.kernel, self.stride, self.dilation, strict=True)
        return tuple((size - 1) * stride + step * (k - 1) + 1 for size, k, stride, step in numbers)

    def matrix(self, of: Shape) -> Matrix:
        """Return ``[kernel places x channels, out]``, in groups only those of a group."""
        return kernel_matrix(self.kernel, of[-1], self.out, self.groups)

    def macs(self, of: Shape) -> int:
        """Return one multiply-add per weight and place below."""
        return math.prod(of) * math.prod(self.kernel) * self.out // self.groups

    def resize(self, units: int) -> Self:
        """Return the layer with ``units`` channels; where a channel reads one, there are as many of these."""
        return replace(self, out=units, groups=units if self.groups == self.out else self.groups)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute what all values give as one product for each group, add it where it falls, take the ends off."""
        given = math.prod(x.shape[1:-1]) * math.prod(self.kernel) * self.out
        return by_blocks(lambda part: self.product_of(part, w, b), x, given)

    def product_of(self, x: Values, w: Values, b: Values) -> Values:
        """Return :meth:`reference` of some rows."""
        places, taps = x.shape[1:-1], math.prod(self.kernel)
        own, each = x.shape[-1] // self.groups, self.out // self.groups
        *gives, _ = self.shape(x.shape[1:])
        ends = zip(self.padding, gives, self.reach(places), strict=True)
        size = [pad + max(got + pad, reached) for pad, got, reached in ends]
        rows = w.reshape(taps, own, self.groups, each).transpose(2, 1, 0, 3).reshape(self.groups, own, taps * each)
        found = x.reshape(-1, self.groups, own).transpose(1, 0, 2) @ rows
        parts = found.reshape(self.groups, len(x), *places, taps, each)
        total = np.zeros((len(x), *size, self.groups, each), found.dtype)
        for tap, place in enumerate(np.ndindex(*self.kernel)):
            numbers = zip(place, self.dilation, self.stride, places, strict=True)
            spots = tuple(slice(at * d, at * d + s * (count - 1) + 1, s) for at, d, s, count in numbers)
            total[(slice(None), *spots)] += np.moveaxis(parts[..., tap, :], 0, -2)
        kept = tuple(slice(pad, pad + got) for pad, got in zip(self.padding, gives, strict=True))
        return total[(slice(None), *kept)].reshape(len(x), *gives, self.out) + b

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return ``[channels below, out of a group, *kernel]`` and ``[out]``, as ``nn.ConvTranspose2d`` has them."""
        whole, order, shape = self.layout(of)
        return {"weight": np.ascontiguousarray(w.reshape(whole).transpose(order).reshape(shape)), "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return ``[kernel places x channels, out]`` and ``[out]``."""
        whole, order, _ = self.layout(of)
        weight = tensors["weight"].reshape([whole[axis] for axis in order]).transpose(np.argsort(order))
        return np.ascontiguousarray(weight.reshape(-1, self.out)), tensors["bias"]

    def layout(self, of: Shape) -> tuple[Shape, Shape, Shape]:
        """Return the axes of the matrix, ``(*kernel, channels, out)`` or ``(*kernel, channels, groups, out)``.

        Then torch's order of these, and the shape that torch's weight has.
        """
        own, each, n = of[-1] // self.groups, self.out // self.groups, self.axes
        if self.groups == 1:
            return (*self.kernel, own, each), (n, n + 1, *range(n)), (own, each, *self.kernel)
        order = (n + 1, n, n + 2, *range(n))
        return (*self.kernel, own, self.groups, each), order, (of[-1], each, *self.kernel)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one ConvTranspose."""
        draft.add(
            "ConvTranspose",
            [source, draft.turned(w, *self.layout(of)), b],
            result,
            name=self.name,
            kernel_shape=list(self.kernel),
            strides=list(self.stride),
            pads=[*self.padding, *self.padding],
            output_padding=list(self.output_padding),
            dilations=list(self.dilation),
            group=self.groups,
        )


@dataclass(frozen=True)
class ConvTranspose1d(ConvTranspose):
    """A transposed convolution over rows ``(length, channels)``, as ``nn.ConvTranspose1d`` computes it."""

    kind: ClassVar[str] = "conv1d-transpose"
    axes: ClassVar[int] = 1


@dataclass(frozen=True)
class ConvTranspose2d(ConvTranspose):
    """A transposed convolution over rows ``(height, width, channels)``, as ``nn.ConvTranspose2d`` computes it."""

    kind: ClassVar[str] = "conv2d-transpose"
    axes: ClassVar[int] = 2
