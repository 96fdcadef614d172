"""A toy kind: maxout (Goodfellow et al. 2013), whose units have two columns each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from aecompress.layers.base import BoundLayer, Draft, Matrix, Shape, Values
from aecompress.nets.layers import Kind


@dataclass(frozen=True)
class Maxout:
    """The larger of two products for each unit; columns 0 .. out-1 are the first of each, the others the second."""

    kind: ClassVar[str] = "maxout"
    flattens: ClassVar[bool] = True
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    out: int
    activation: str

    def shape(self, of: Shape) -> Shape:
        return (self.out,)

    def matrix(self, of: Shape) -> Matrix:
        writes = lambda: np.arange(2 * self.out) % self.out  # noqa: E731
        return Matrix(fan_in=of[0], columns=2 * self.out, below=of[0], units=self.out, writes_of=writes)

    def macs(self, of: Shape) -> int:
        return 2 * of[0] * self.out

    def resize(self, units: int) -> Maxout:
        return replace(self, out=units)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        return (x @ w + b).reshape(len(x), 2, -1).max(1)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        return {"weight": np.ascontiguousarray(w.T), "bias": b}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        return np.ascontiguousarray(tensors["weight"].T), tensors["bias"]

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        both = draft.add("Gemm", [source, w, b], f"{self.name}.both", name=self.name)
        pairs = draft.add("Reshape", [both, draft.keep("pairs", np.array([0, 2, -1]))], f"{self.name}.pairs")
        draft.add("ReduceMax", [pairs, draft.keep("axis", np.array([1]))], result, keepdims=0)


def forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    return (below @ weight + bias).unflatten(2, (2, -1)).amax(2)


TORCH = Kind(forward)
