"""A slope below 0 for each unit, which is trained and goes with the unit (He et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from aecompress.layers.activations import IDENTITY, check_activation
from aecompress.layers.base import Draft, Matrix, Shape, Values

NONE = np.zeros(0)


@dataclass(frozen=True)
class Prelu:
    """x where it is positive, else x times the slope of its unit, at all places the same; as ``nn.PReLU``."""

    kind: ClassVar[str] = "prelu"
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
        """Return one row of slopes without biases; each belongs to its own unit, which is the one below."""
        units = of[-1]
        return Matrix(
            fan_in=1,
            columns=units,
            below=units,
            units=units,
            biases=False,
            passes=True,
            reads_of=lambda: np.arange(units, dtype=np.int64)[None],
        )

    def macs(self, of: Shape) -> int:
        """Return one multiplication per value."""
        return math.prod(of)

    def resize(self, units: int) -> Self:
        """Return the layer: it has as many units as it is given."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute it, ``[N, *places, units]``."""
        result: Values = np.where(x > 0, x, w[0] * x)
        return result

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return ``[units]``."""
        return {"weight": w[0]}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return ``[1, units]`` and no bias; one slope for all units is given to each."""
        slopes = np.broadcast_to(tensors["weight"].reshape(-1), of[-1:])
        return np.array(slopes)[None], NONE.astype(slopes.dtype)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one PRelu."""
        slopes = draft.turned(w, of[-1:], (0,), (of[-1], *[1] * (len(of) - 1)))
        draft.add("PRelu", [source, slopes], result, name=self.name)
