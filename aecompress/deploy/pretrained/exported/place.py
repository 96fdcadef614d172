"""One node of a chain: what it reads, its constants, its shapes without the batch, and its name for messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from aecompress.deploy.pretrained.exported.program import OF, Program, op_of
from aecompress.deploy.pretrained.steps import Step
from aecompress.errors import DataError
from aecompress.layers.base import Shape

TORCH = Path(torch.__file__).parent
MOST_CODE = 80
"""Characters of a line of the user's code that a message shows."""
Array = NDArray[np.float32]
Steps = list[Step]
LAYERS = "torch.nn.modules."
"""Where torch defines its layers: a node in one is known by the layer's path."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A node in a chain, with the node before it there."""

    program: Program
    node: Node
    below: Node
    """The node whose value it reads."""
    batch: int
    """The axis of that value that counts rows."""

    @property
    def op(self) -> str:
        """Return the name of its operator."""
        return op_of(self.node)

    @property
    def name(self) -> str:
        """Return what its steps are called."""
        return label_of(self.node)

    @property
    def given(self) -> Shape:
        """Return the shape of what it reads, without the batch."""
        shape = tuple(self.program.values[self.below].shape)
        return shape[: self.batch] + shape[self.batch + 1 :]

    @property
    def gives(self) -> Shape:
        """Return the whole shape of its value, with the batch."""
        return tuple(self.program.values[self.node].shape)

    def axis(self, axis: int) -> int:
        """Return the number of an axis of what it reads when the batch is not counted.

        Raises:
            DataError: it is the batch.
        """
        axis %= len(self.given) + 1
        if axis == self.batch:
            raise self.refused("works across the rows of a batch", "a row's reconstruction must depend on it alone")
        return axis - (axis > self.batch)

    def get(self, place: int, name: str = "", default: Any = None) -> Any:
        """Return an argument by its place or name."""
        if name and name in self.node.kwargs:
            return self.node.kwargs[name]
        return self.node.args[place] if place < len(self.node.args) else default

    def constant(self, place: int, name: str = "") -> NDArray[np.float32] | None:
        """Return an argument that does not depend on the rows, as an array; None where it is left out.

        Raises:
            DataError: it depends on the rows.
        """
        found = self.get(place, name)
        return None if found is None else self.array(found)

    def array(self, given: Any) -> NDArray[np.float32]:
        """Return a constant as an array.

        Raises:
            DataError: it depends on the rows.
        """
        if given is self.below:
            raise self.refused("reads the same value twice", "write it with layers and activations alone")
        value = self.program.values[given] if isinstance(given, Node) else torch.as_tensor(given)
        if not isinstance(value, Tensor) or value.is_complex():
            raise self.refused("has an argument that is no tensor of numbers", "write it with layers of torch.nn")
        found: NDArray[np.float32] = value.detach().to(torch.float32).numpy().copy()
        return found

    def refused(self, why: str, cure: str) -> DataError:
        """Return the error that names the node, why it cannot be taken, and what would help."""
        return refusal(self.program.name, self.node, why, cure)


def refusal(name: str, node: Node, why: str, cure: str) -> DataError:
    """Return an error that names a node, the module that it stems from, and its line of code."""
    path, kind = stem_of(node)
    inside = f" of {path} ({kind.rpartition('.')[2]})" if path else ""
    return DataError(f"{name}: node {node.name!r} ({op_of(node)}){inside}{line_of(node)} {why}; {cure}")


def stem_of(node: Node) -> tuple[str, str]:
    """Return the path of the module whose forward a node is in, and the name of its class; of the whole, no path."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return str(path).removeprefix(OF).removeprefix("."), kind


def label_of(node: Node) -> str:
    """Return a short name of a node: the path of its layer, or its own name behind that of its module."""
    path, kind = stem_of(node)
    if kind.startswith(LAYERS) and path:
        return path
    return f"{path}.{node.name}" if path else node.name


def line_of(node: Node) -> str:
    """Return the line of the user's code that a node comes from, as a part of a sentence; empty where not known."""
    lines = str(node.meta.get("stack_trace") or "").splitlines()
    for place in range(len(lines) - 2, -1, -1):
        where = lines[place].strip()
        ours = str(TORCH) in where or __file__.rpartition(os.sep)[0] in where
        if where.startswith("File ") and not ours and lines[place + 1].strip():
            return f" in `{lines[place + 1].strip()[:MOST_CODE]}`"
    return ""


def step(place: Place, op: str, tensors: Mapping[str, Array | None] | None = None, **numbers: Any) -> Step:
    """Return a step of a node, with the tensors that are there."""
    held = {name: tensor for name, tensor in (tensors or {}).items() if tensor is not None}
    return Step(place.name, op, held, numbers)


def several(value: Any, count: int) -> tuple[int, ...]:
    """Return a number for each of ``count`` axes; one number is for all."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    return tuple(map(int, found)) * count if len(found) == 1 else tuple(map(int, found))
