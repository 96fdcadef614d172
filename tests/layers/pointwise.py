"""A toy kind whose units have several values: the same product at every place, a convolution of width 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from aecompress.errors import SpecError
from aecompress.layers.base import BoundLayer, Draft, Matrix, Shape, Values
from aecompress.layers.places import to_first, to_last
from aecompress.nets.layers import Kind


@dataclass(frozen=True)
class Pointwise:
    """``x @ w + b`` at each place, ``[*places, channels]`` to ``[*places, out]``."""

    kind: ClassVar[str] = "pointwise"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    out: int
    activation: str

    def shape(self, of: Shape) -> Shape:
        if len(of) < 2:
            raise SpecError(
                f"model: layer {self.name} (pointwise) takes rows of places and channels, "
                f"and is given rows of shape {list(of)}"
            )
        return (*of[:-1], self.out)

    def matrix(self, of: Shape) -> Matrix:
        return Matrix(fan_in=of[-1], columns=self.out, below=of[-1], units=self.out)

    def macs(self, of: Shape) -> int:
        return math.prod(of) * self.out

    def resize(self, units: int) -> Pointwise:
        return replace(self, out=units)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        return np.tensordot(x, w, 1) + b

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        return {"weight": np.ascontiguousarray(w.T), "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        return np.ascontiguousarray(tensors["weight"].T), tensors["bias"]

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        shape = (*of[:-1], self.out)
        source = to_last(draft, source, of, f"{self.name}.last")
        added = draft.add("Add", [draft.add("MatMul", [source, w], f"{self.name}.product"), b], f"{self.name}.added")
        to_first(draft, added, shape, result)


def forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    return (below.flatten(2, -2) @ weight[:, None] + bias[:, None]).view(*below.shape[:-1], -1)


TORCH = Kind(forward)
