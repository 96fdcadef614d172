"""The dense layer: every unit reads every value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aecompress.layers.activations import check_activation
from aecompress.layers.base import BoundLayer, Draft, Matrix, Shape, Values


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

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return ``(out,)``: any rows can be flattened."""
        return (self.out,)

    def matrix(self, of: Shape) -> Matrix:
        """Return a row for every value of ``of``, which reads the unit on the last axis."""
        count = math.prod(of)
        maps = None if len(of) == 1 else lambda: (np.arange(count, dtype=np.int64) % of[-1])[:, None]
        return Matrix(fan_in=count, columns=self.out, below=of[-1], units=self.out, reads_of=maps)

    def macs(self, of: Shape) -> int:
        """Return one multiply-add per weight."""
        return math.prod(of) * self.out

    def resize(self, units: int) -> Dense:
        """Return the layer with ``units`` outputs."""
        return replace(self, out=units)

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute ``x @ w + b``, ``[N, out]``."""
        return x.reshape(len(x), -1) @ w + b

    def to_torch(self, of: Shape, w: Values) -> Values:
        """Return ``[out, in]``, as ``nn.Linear`` has it."""
        return np.ascontiguousarray(w.T)

    def from_torch(self, of: Shape, tensor: Values) -> Values:
        """Return ``[in, out]``."""
        return np.ascontiguousarray(tensor.T)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one Gemm; rows of several axes are flattened before it."""
        if len(of) > 1:
            source = draft.add("Flatten", [source], f"{self.name}.flat")
        draft.add("Gemm", [source, w, b], result, name=self.name)


def dense(name: str, inputs: int, outputs: int, activation: str) -> BoundLayer:
    """Return a dense layer bound to rows of ``inputs`` values."""
    return BoundLayer(Dense(name, outputs, activation), (inputs,))
