"""Pools and upsampling: fewer or more places, every unit by itself. They have no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from aecompress.errors import SpecError
from aecompress.layers.activations import IDENTITY, check_activation
from aecompress.layers.base import Draft, Matrix, Shape, Values, unweighted
from aecompress.layers.kernels import in_words, per_axis
from aecompress.layers.reshape import NONE


class Windows(NamedTuple):
    """The numbers of a pool, one for each axis of places."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def of(self, x: Values, fill: float) -> Values:
        """Return what each window reads of ``[N, *places, units]``, padded: ``[N, *places, units, *kernel]``."""
        x = np.pad(x, ((0, 0), *((pad, pad) for pad in self.padding), (0, 0)), constant_values=fill)
        windows = sliding_window_view(x, self.kernel, tuple(range(1, x.ndim - 1)))
        found: Values = windows[(slice(None), *(slice(None, None, step) for step in self.stride))]
        return found

    def attributes(self) -> dict[str, Any]:
        """Return the numbers by the names that ONNX has for them."""
        pads = [*self.padding, *self.padding]
        return {"kernel_shape": list(self.kernel), "strides": list(self.stride), "pads": pads}


@dataclass(frozen=True)
class Pool:
    """What the pools have in common; numbers per axis, or one for all of them."""

    kind: ClassVar[str]
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    """(): that of the kernel."""
    padding: tuple[int, ...] = (0,)
    """Places at each end of an axis that a window may reach over it."""
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def windows(self, of: Shape) -> Windows:
        """Return the numbers for rows of shape ``of``.

        Raises:
            SpecError: they are not for as many axes, or windows lie outside.
        """
        axes = len(of) - 1
        if axes < 1:
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) takes rows of places and channels, and is given rows of shape "
                f"{list(of)}; put it behind a convolution"
            )
        kernel = per_axis(self.name, "kernel", self.kernel, axes, 1)
        stride = per_axis(self.name, "stride", self.stride or kernel, axes, 1)
        padding = per_axis(self.name, "padding", self.padding, axes, 0)
        if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
            raise SpecError(
                f"model: layer {self.name} ({self.kind}): padding = {list(self.padding)} is more than half of its "
                f"kernel of {in_words(kernel)}; make it smaller"
            )
        return Windows(kernel, stride, padding)

    def shape(self, of: Shape) -> Shape:
        """Return ``(*places, units)`` with a place for each whole window."""
        numbers = self.windows(of)
        places = tuple((size + 2 * pad - k) // step + 1 for size, k, step, pad in zip(of[:-1], *numbers, strict=True))
        if min(places) < 1:
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) has a kernel of {in_words(numbers.kernel)}, which rows of "
                f"shape {list(of)} do not hold; make it smaller"
            )
        return (*places, of[-1])

    def matrix(self, of: Shape) -> Matrix:
        """Return none: units are those below."""
        return unweighted(of[-1])

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer: it has as many units as it is given."""
        return self

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest value of each window, as ``nn.MaxPool1d`` and ``nn.MaxPool2d`` compute it."""

    kind: ClassVar[str] = "max-pool"

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the largest of each window, ``[N, *places, units]``."""
        numbers = self.windows(x.shape[1:])
        found: Values = numbers.of(x, -np.inf).max(tuple(range(-len(numbers.kernel), 0)))
        return found

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one MaxPool."""
        draft.add("MaxPool", [source], result, name=self.name, **self.windows(of).attributes())


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window, zeros beside the rows included, as ``nn.AvgPool1d`` and ``nn.AvgPool2d`` compute it."""

    kind: ClassVar[str] = "avg-pool"

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the mean of each window, ``[N, *places, units]``."""
        numbers = self.windows(x.shape[1:])
        found: Values = numbers.of(x, 0).mean(tuple(range(-len(numbers.kernel), 0)))
        return found

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one AveragePool."""
        attributes = self.windows(of).attributes() | {"count_include_pad": 1}
        draft.add("AveragePool", [source], result, name=self.name, **attributes)


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean of each unit over all places, which are gone then."""

    kind: ClassVar[str] = "global-avg-pool"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return ``(units,)``."""
        return of[-1:]

    def matrix(self, of: Shape) -> Matrix:
        """Return none: units are those below."""
        return unweighted(of[-1])

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer: it has as many units as it is given."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the mean over all places, ``[N, units]``."""
        found: Values = x.reshape(len(x), -1, x.shape[-1]).mean(1)
        return found

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write a GlobalAveragePool and a Flatten."""
        if len(of) > 1:
            source = draft.add("GlobalAveragePool", [source], f"{self.name}.mean", name=self.name)
        draft.add("Flatten", [source], result)


@dataclass(frozen=True)
class Upsample:
    """So many times as many places: each value again, or between two values, as ``nn.Upsample`` computes it."""

    kind: ClassVar[str] = "upsample"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    factor: tuple[int, ...]
    """Times, per axis of places or for all."""
    mode: Literal["nearest", "linear"] = "nearest"
    """linear: in two axes what torch calls bilinear; corners are not aligned."""
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def factors(self, of: Shape) -> tuple[int, ...]:
        """Return the times for each axis of rows of shape ``of``.

        Raises:
            SpecError: these have no places, or others than there are factors.
        """
        if len(of) < 2:
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) takes rows of places and channels, and is given rows of shape "
                f"{list(of)}; give the dense layer before it places"
            )
        return per_axis(self.name, "factor", self.factor, len(of) - 1, 1)

    def shape(self, of: Shape) -> Shape:
        """Return ``(*places, units)``."""
        return (*(size * times for size, times in zip(of[:-1], self.factors(of), strict=True)), of[-1])

    def matrix(self, of: Shape) -> Matrix:
        """Return none: units are those below."""
        return unweighted(of[-1])

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer: it has as many units as it is given."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute it axis by axis, ``[N, *places, units]``."""
        for axis, times in enumerate(self.factors(x.shape[1:]), 1):
            if self.mode == "nearest":
                x = np.repeat(x, times, axis)
                continue
            size = x.shape[axis]
            at = np.clip((np.arange(size * times) + 0.5) / times - 0.5, 0, size - 1)
            low = at.astype(np.int64)
            share = (at - low).astype(x.dtype).reshape(-1, *[1] * (x.ndim - axis - 1))
            x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, size - 1), axis) * share
        return x

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one Resize."""
        factors = np.array([1, 1, *self.factors(of)], np.float32)
        draft.add(
            "Resize", [source, "", draft.keep(f"{self.name}.factors", factors)], result, name=self.name, **self.how()
        )

    def how(self) -> dict[str, str]:
        """Return the attributes of Resize that compute what torch does."""
        if self.mode == "linear":
            return {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
