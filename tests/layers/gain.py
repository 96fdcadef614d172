"""A toy kind: an elementwise gain and offset, tied to the units below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from aecompress.errors import SpecError
from aecompress.layers.base import BoundLayer, Draft, Matrix, Shape, Values
from aecompress.nets.layers import Kind


@dataclass(frozen=True)
class Gain:
    """``x * w + b``, value by value."""

    kind: ClassVar[str] = "gain"
    flattens: ClassVar[bool] = True
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    activation: str

    def shape(self, of: Shape) -> Shape:
        if len(of) != 1:
            raise SpecError(
                f"model: layer {self.name} (gain) takes rows of one axis, and is given rows of shape {list(of)}"
            )
        return of

    def matrix(self, of: Shape) -> Matrix:
        return Matrix(fan_in=1, columns=of[0], below=of[0], units=of[0], reads_of=lambda: np.arange(of[0])[None])

    def macs(self, of: Shape) -> int:
        return of[0]

    def resize(self, units: int) -> Gain:
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        return x * w + b

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        return {"weight": w[0], "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        return tensors["weight"][None], tensors["bias"]

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        draft.add("Add", [draft.add("Mul", [source, w], f"{self.name}.scaled"), b], result, name=self.name)


def forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    return below * weight + bias


TORCH = Kind(forward)
