"""The dense layer: every unit reads every value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aecompress.layers.activations import check_activation
from aecompress.layers.base import BoundLayer, Draft, Matrix, Shape, Values
from aecompress.layers.places import first, last, matrix_first, vector_first


@dataclass(frozen=True)
class Dense:
    """``x @ w + b``; rows of several axes are flattened."""

    kind: ClassVar[str] = "dense"
    flattens: ClassVar[bool] = True
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = True
    name: str
    out: int
    """Units."""
    activation: str
    places: tuple[int, ...] = ()
    """Places at which every unit has a value, as before a transposed convolution; (): a unit has one value."""

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return ``(*places, out)``: any rows can be flattened."""
        return (*self.places, self.out)

    def matrix(self, of: Shape) -> Matrix:
        """Return a row for every value of ``of``, which reads the unit on the last axis, and a column for every one."""
        count, columns = math.prod(of), math.prod(self.places) * self.out
        reads = None if len(of) == 1 else lambda: (np.arange(count, dtype=np.int64) % of[-1])[:, None]
        writes = None if not self.places else lambda: np.arange(columns, dtype=np.int64) % self.out
        return Matrix(fan_in=count, columns=columns, below=of[-1], units=self.out, reads_of=reads, writes_of=writes)

    def macs(self, of: Shape) -> int:
        """Return one multiply-add per weight."""
        return math.prod(of) * math.prod(self.places) * self.out

    def resize(self, units: int) -> Dense:
        """Return the layer with ``units`` outputs."""
        return replace(self, out=units)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute ``x @ w + b``, ``[N, *places, out]``."""
        return (x.reshape(len(x), -1) @ w + b).reshape(len(x), *self.places, self.out)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return ``[out, in]`` and ``[out]``, as ``nn.Linear`` has them between channels-first values."""
        gives = self.shape(of)
        return {"weight": np.ascontiguousarray(first(first(w, of, 0), gives, 1).T), "bias": first(b, gives, 0)}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return ``[in, out]`` and ``[out]``."""
        gives = self.shape(of)
        return np.ascontiguousarray(last(last(tensors["weight"].T, of, 0), gives, 1)), last(tensors["bias"], gives, 0)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one Gemm; rows of several axes are flattened before it, in the graph's order."""
        gives = self.shape(of)
        if len(of) > 1:
            source = draft.add("Flatten", [source], f"{self.name}.flat")
        named = [source, matrix_first(draft, w, of, gives), vector_first(draft, b, gives)]
        if not self.places:
            draft.add("Gemm", named, result, name=self.name)
            return
        product = draft.add("Gemm", named, f"{self.name}.product", name=self.name)
        unfolded = draft.keep(f"{self.name}.shape", np.array([-1, self.out, *self.places], np.int64))
        draft.add("Reshape", [product, unfolded], result)


def dense(name: str, inputs: int, outputs: int, activation: str) -> BoundLayer:
    """Return a dense layer bound to rows of ``inputs`` values."""
    return BoundLayer(Dense(name, outputs, activation), (inputs,))
