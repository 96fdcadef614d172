"""Layers that only move values: to other places, or to another order of axes. They have no weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from aecompress.errors import SpecError
from aecompress.layers.activations import IDENTITY, check_activation
from aecompress.layers.base import Draft, Matrix, Shape, Values, unweighted
from aecompress.layers.places import to_first, to_last

NONE = np.zeros((0, 0)), np.zeros(0)
"""The matrix and the bias of a layer without weights."""


@dataclass(frozen=True)
class Reshape:
    """The same values in their order, as rows of another shape."""

    kind: ClassVar[str] = "reshape"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    to: tuple[int, ...]
    """The shape of a row, the units last."""
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)
        if not self.to or min(self.to) < 1:
            raise SpecError(f"model: layer {self.name} ({self.kind}): to = {list(self.to)}: give sizes of at least 1")

    def shape(self, of: Shape) -> Shape:
        """Return ``to``."""
        if math.prod(of) != math.prod(self.to):
            raise SpecError(
                f"model: layer {self.name} ({self.kind}) gives rows of shape {list(self.to)}, and is given rows of "
                f"shape {list(of)}, which have other than {math.prod(self.to)} values; correct its shape"
            )
        return self.to

    def matrix(self, of: Shape) -> Matrix:
        """Return none, between units that are others than those below."""
        return unweighted(of[-1], self.to[-1])

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer, whose units are no one's to take out."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the values ``[N, *to]``."""
        return x.reshape(len(x), *self.to)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write a Reshape of the values in our order, which is the graph's where there is one unit."""
        row = source if of[-1] == 1 else to_last(draft, source, of, f"{self.name}.row")
        alone = self.to[-1] == 1
        sizes = (1, *self.to[:-1]) if alone else self.to
        shape = draft.keep(f"{self.name}.to", np.array([-1, *sizes], np.int64))
        moved = draft.add("Reshape", [row, shape], result if alone else f"{self.name}.moved")
        if not alone:
            to_first(draft, moved, self.to, result)


@dataclass(frozen=True)
class Unflatten(Reshape):
    """The same values in their order, of flat rows; behind a dense layer it becomes that one's ``places``."""

    kind: ClassVar[str] = "unflatten"


@dataclass(frozen=True)
class Flatten:
    """The same values in their order, as flat rows; before a dense layer, which flattens itself, it goes."""

    kind: ClassVar[str] = "flatten"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return the number of values."""
        return (math.prod(of),)

    def matrix(self, of: Shape) -> Matrix:
        """Return none, between units that are others than those below."""
        return unweighted(of[-1]) if len(of) == 1 else unweighted(of[-1], math.prod(of))

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer, whose units are no one's to take out."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the values ``[N, D]``."""
        return x.reshape(len(x), -1)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write a Flatten of the values in our order."""
        draft.add("Flatten", [to_last(draft, source, of, f"{self.name}.row")], result, name=self.name)


@dataclass(frozen=True)
class Permute:
    """The axes of a row in another order, as ``torch.permute`` has them without the batch."""

    kind: ClassVar[str] = "permute"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    axes: tuple[int, ...]
    """From 0: which axis of the rows below each axis is."""
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)
        if sorted(self.axes) != list(range(len(self.axes))):
            raise SpecError(f"model: layer {self.name} (permute): axes = {list(self.axes)}: name each axis from 0 once")

    def shape(self, of: Shape) -> Shape:
        """Return ``of`` with its axes in their new order."""
        if len(of) != len(self.axes):
            raise SpecError(
                f"model: layer {self.name} (permute) takes rows of {len(self.axes)} axes, and is given rows of shape "
                f"{list(of)}; correct its axes"
            )
        return tuple(of[axis] for axis in self.axes)

    def matrix(self, of: Shape) -> Matrix:
        """Return none, between units that are others than those below."""
        return unweighted(of[-1], self.shape(of)[-1])

    def macs(self, of: Shape) -> int:
        """Return 0."""
        return 0

    def resize(self, units: int) -> Self:
        """Return the layer, whose units are no one's to take out."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Return the values with their axes moved."""
        return x.transpose(0, *(axis + 1 for axis in self.axes))

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return no tensors."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return an empty matrix and bias."""
        return NONE

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write a Transpose, between those to our order and back."""
        row = to_last(draft, source, of, f"{self.name}.row")
        order = [0, *(axis + 1 for axis in self.axes)]
        to_first(draft, draft.add("Transpose", [row], f"{self.name}.moved", perm=order), self.shape(of), result)
