"""A node of a graph with the values that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.views import Refused, View

Array = NDArray[Any]
Value = View | Array
"""Of the graph: computed from the rows, or a constant."""


class Node(NamedTuple):
    """A node, its inputs and its attributes."""

    name: str
    op: str
    inputs: Sequence[Value | None]
    """None: left out."""
    about: Mapping[str, Any]
    """Attributes by name, tensors as arrays."""
    outputs: int
    label: str
    """Name of its first stored tensor, or of the node: what its step is called."""

    def given(self, place: int) -> Value | None:
        """Return an input, None where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def view(self, place: int = 0) -> View:
        """Return an input that is computed from the rows.

        Raises:
            Refused: it is a constant.
        """
        value = self.given(place)
        if not isinstance(value, View):
            raise Refused("is given a constant where values of rows are read; export the model again")
        return value

    def constant(self, place: int) -> Array | None:
        """Return an input that is stored, None where it is left out.

        Raises:
            Refused: it is computed from the rows.
        """
        value = self.given(place)
        if isinstance(value, View):
            raise Refused("takes weights or numbers that are computed from the rows; only stored ones can be read")
        return value

    def stored(self, place: int) -> Array:
        """Return an input that is stored.

        Raises:
            Refused: it is left out, or computed from the rows.
        """
        value = self.constant(place)
        if value is None:
            raise Refused("lacks a weight; export the model again")
        return value

    def numbers(self, name: str, place: int) -> list[int] | None:
        """Return whole numbers that, by the version of the operator, are an attribute or an input; None: neither."""
        value = self.about[name] if name in self.about else self.constant(place)
        return None if value is None else [int(number) for number in np.asarray(value).reshape(-1)]

    def number(self, name: str, place: int, default: float) -> float:
        """Return a number that, by the version of the operator, is an attribute or an input."""
        value = self.about[name] if name in self.about else self.constant(place)
        return default if value is None else float(np.asarray(value).reshape(-1)[0])
