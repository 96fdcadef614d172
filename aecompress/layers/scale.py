"""A factor and an offset for each unit: a batch normalisation that no layer beside it could take in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from aecompress.layers.activations import IDENTITY, check_activation
from aecompress.layers.base import Draft, Matrix, Shape, Values


@dataclass(frozen=True)
class Scale:
    """``x * w + b``, of each unit its own, at all of its places the same."""

    kind: ClassVar[str] = "scale"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    activation: str = IDENTITY

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return ``of``."""
        return of

    def matrix(self, of: Shape) -> Matrix:
        """Return one row; each column reads its own unit."""
        units = of[-1]
        return Matrix(fan_in=1, columns=units, below=units, units=units, reads_of=lambda: np.arange(units)[None])

    def macs(self, of: Shape) -> int:
        """Return one multiply-add per value."""
        return math.prod(of)

    def resize(self, units: int) -> Self:
        """Return the layer: it has as many units as it is given."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute ``x * w + b``, ``[N, *places, units]``."""
        found: Values = x * w[0] + b
        return found

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return ``[units]`` each, as ``nn.BatchNorm1d`` has them where its mean is 0 and its variance 1."""
        return {"weight": w[0], "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return ``[1, units]`` and ``[units]``."""
        return tensors["weight"][None], tensors["bias"]

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write a Mul and an Add."""
        over = (of[-1], *[1] * (len(of) - 1))
        factor, offset = (draft.turned(name, of[-1:], (0,), over) for name in (w, b))
        draft.add("Add", [draft.add("Mul", [source, factor], f"{self.name}.times"), offset], result, name=self.name)
