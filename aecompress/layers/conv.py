"""Convolutions over one or two axes of places: a unit is a channel, which has a value at every place.

The matrix has a row for each place of the kernel and each channel that a column reads there, places first. As
convolutions are everywhere in deep learning, they are cross-correlations: the kernel is not turned round.
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
class Conv:
    """What :class:`Conv1d` and :class:`Conv2d` have in common; numbers per axis, or one for all of them."""

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
    """Zeros at each end of an axis."""
    dilation: tuple[int, ...] = (1,)
    groups: int = 1
    """Parts of the channels below, each read by as many of the layer's; as many as channels: a channel reads one."""

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)
        for field, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, field, per_axis(self.name, field, getattr(self, field), self.axes, least))
        check_groups(self.name, self.out, self.groups)

    @property
    def pads(self) -> bool:
        """Return whether the kernel reaches over an end."""
        return any(self.padding)

    def shape(self, of: Shape) -> Shape:
        """Return ``(*places, out)``."""
        places = check_given(self.name, self.kind, of, self.axes, self.groups)
        numbers = zip(places, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        gives = tuple((size + 2 * pad - step * (k - 1) - 1) // stride + 1 for size, k, stride, pad, step in numbers)
        if min(gives) < 1:
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) has a kernel of {in_words(self.kernel)}, which rows of shape "
                f"{list(of)} do not hold; make it smaller, or pad"
            )
        return (*gives, self.out)

    def matrix(self, of: Shape) -> Matrix:
        """Return ``[kernel places x channels, out]``, in groups only those of a group."""
        return kernel_matrix(self.kernel, of[-1], self.out, self.groups)

    def macs(self, of: Shape) -> int:
        """Return one multiply-add per weight and place."""
        return math.prod(self.shape(of)[:-1]) * math.prod(self.kernel) * of[-1] // self.groups * self.out

    def resize(self, units: int) -> Self:
        """Return the layer with ``units`` channels; where a channel reads one, there are as many of these."""
        return replace(self, out=units, groups=units if self.groups == self.out else self.groups)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute it as one product for each group: of what the kernel covers at each place, and its rows."""
        covered = math.prod(self.shape(x.shape[1:])[:-1]) * math.prod(self.kernel) * x.shape[-1]
        return by_blocks(lambda part: self.product_of(part, w, b), x, covered)

    def product_of(self, x: Values, w: Values, b: Values) -> Values:
        """Return :meth:`reference` of some rows."""
        gives, seen = self.shape(x.shape[1:]), self.covered(x)
        if self.groups == 1:
            return (seen.reshape(-1, len(w)) @ w).reshape(len(x), *gives) + b
        taps, own, each = math.prod(self.kernel), x.shape[-1] // self.groups, self.out // self.groups
        rows = w.reshape(taps, own, self.groups, each).transpose(2, 0, 1, 3).reshape(self.groups, -1, each)
        parts = seen.reshape(-1, taps, self.groups, own).transpose(2, 0, 1, 3).reshape(self.groups, -1, len(w)) @ rows
        return parts.transpose(1, 0, 2).reshape(len(x), *gives) + b

    def covered(self, x: Values) -> Values:
        """Return what the kernel covers at each place of ``[N, *given]``: ``[N, *places, kernel places, channels]``."""
        places = self.shape(x.shape[1:])[:-1]
        x = np.pad(x, ((0, 0), *((pad, pad) for pad in self.padding), (0, 0)))
        seen = np.empty((len(x), *places, math.prod(self.kernel), x.shape[-1]), x.dtype)
        for tap, place in enumerate(np.ndindex(*self.kernel)):
            numbers = zip(place, self.dilation, self.stride, places, strict=True)
            spots = tuple(slice(at * d, at * d + s * (size - 1) + 1, s) for at, d, s, size in numbers)
            seen[..., tap, :] = x[(slice(None), *spots)]
        return seen

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return ``[out, channels of a group, *kernel]`` and ``[out]``, as ``nn.Conv2d`` has them."""
        whole = w.reshape(*self.kernel, of[-1] // self.groups, self.out)
        return {"weight": np.ascontiguousarray(whole.transpose(self.order)), "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return ``[kernel places x channels, out]`` and ``[out]``."""
        back = np.argsort(self.order)
        return np.ascontiguousarray(tensors["weight"].transpose(back).reshape(-1, self.out)), tensors["bias"]

    @property
    def order(self) -> tuple[int, ...]:
        """Return the axes ``(*kernel, channels, out)`` in torch's order."""
        return (self.axes + 1, self.axes, *range(self.axes))

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one Conv."""
        own = of[-1] // self.groups
        weight = draft.turned(w, (*self.kernel, own, self.out), self.order, (self.out, own, *self.kernel))
        draft.add(
            "Conv",
            [source, weight, b],
            result,
            name=self.name,
            kernel_shape=list(self.kernel),
            strides=list(self.stride),
            pads=[*self.padding, *self.padding],
            dilations=list(self.dilation),
            group=self.groups,
        )


@dataclass(frozen=True)
class Conv1d(Conv):
    """A convolution over rows ``(length, channels)``, as ``nn.Conv1d`` computes it."""

    kind: ClassVar[str] = "conv1d"
    axes: ClassVar[int] = 1


@dataclass(frozen=True)
class Conv2d(Conv):
    """A convolution over rows ``(height, width, channels)``, as ``nn.Conv2d`` computes it."""

    kind: ClassVar[str] = "conv2d"
    axes: ClassVar[int] = 2
