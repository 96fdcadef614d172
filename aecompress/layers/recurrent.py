"""Recurrent layers: LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014), as torch computes them.

A weight has a row for each unit below, one for each unit of the layer itself, as it was a step before, and a last one,
which reads no unit: torch's second bias. The columns are the gates one after another, in the order of ONNX, so column
i belongs to unit ``i % out``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from aecompress.errors import SpecError
from aecompress.layers.activations import check_activation, sigmoid_of
from aecompress.layers.base import Draft, Matrix, Shape, Values, unweighted

TORCH_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
"""The tensors of torch's modules of one layer and one direction."""


def steps_and_units(name: str, kind: str, of: Shape) -> tuple[int, int]:
    """Return the steps of a series and its values at each, for rows of shape ``of``.

    Raises:
        SpecError: these are no rows of steps and units.
    """
    if len(of) != 2:
        raise SpecError(
            f"model: layer {name} ({kind}) takes rows of steps and units, and is given rows of shape {list(of)}; "
            "put a repeat or an unflatten layer before it, or give rows of shape [steps, units]"
        )
    return of[0], of[1]


def matrix_of(below: int, units: int, gates: int, second: int) -> Matrix:
    """Return the matrix of a layer with so many ``gates`` for each of its ``units``.

    Args:
        second: the gates, of the first ones, to whose bias the second one is added.
    """
    return Matrix(
        fan_in=below + units + 1,
        columns=gates * units,
        below=below,
        units=units,
        second=second * units,
        reads_of=lambda: np.arange(below + units + 1, dtype=np.int64)[:, None],
        writes_of=lambda: np.arange(gates * units, dtype=np.int64) % units,
    )


def tensors_of(below: int, w: Values, b: Values, gates: Sequence[int]) -> dict[str, Values]:
    """Return matrix and bias as torch's modules have them: weights ``[columns, values read]``, two biases.

    Args:
        gates: of torch's gates, in its order, the place of each in ours.
    """
    parts = (w[:below], w[below:-1], b, w[-1])
    turned = (np.concatenate([np.split(part, len(gates), -1)[gate] for gate in gates], -1).T for part in parts)
    return {name: np.ascontiguousarray(part) for name, part in zip(TORCH_NAMES, turned, strict=True)}


def matrix_and_bias(tensors: Mapping[str, Values], gates: Sequence[int]) -> tuple[Values, Values]:
    """Return ``[fan_in, columns]`` and ``[columns]`` of torch's tensors: the inverse of :func:`tensors_of`."""
    order = np.argsort(gates)
    given, own, bias, second = (
        np.concatenate([np.split(tensors[name].T, len(gates), -1)[gate] for gate in order], -1) for name in TORCH_NAMES
    )
    return np.concatenate([given, own, second[None]]), bias


def emit_steps(draft: Draft, layer: Recurrent, of: Shape, tensors: tuple[str, str], source: str, result: str) -> None:
    """Write the node of a recurrent layer, which has the steps first and then the rows, and the turns around it.

    Args:
        tensors: names of matrix and bias.
    """
    below, units, name = of[1], layer.out, layer.name
    columns = len(layer.gates) * units
    given, own, second = draft.split(tensors[0], (below, units, 1))
    named = [
        draft.add("Transpose", [source], f"{name}.steps", perm=[2, 0, 1]),
        draft.turned(given, (below, columns), (1, 0), (1, columns, below)),
        draft.turned(own, (units, columns), (1, 0), (1, columns, units)),
        draft.stacked((tensors[1], draft.turned(second, (columns,), (0,), (columns,))), (1, 2 * columns)),
    ]
    attributes = {"hidden_size": units} | ({"linear_before_reset": 1} if isinstance(layer, Gru) else {})
    op = layer.kind.upper()
    if not layer.sequences:
        last = draft.add(op, named, ("", f"{name}.last"), name=name, **attributes)
        draft.add("Squeeze", [last, draft.keep(f"{name}.axis", np.array([0], np.int64))], result)
        return
    every = draft.add(op, named, f"{name}.every", name=name, **attributes)
    squeezed = draft.add("Squeeze", [every, draft.keep(f"{name}.axis", np.array([1], np.int64))], f"{name}.units")
    draft.add("Transpose", [squeezed], result, perm=[1, 2, 0])


@dataclass(frozen=True)
class Recurrent:
    """What :class:`Lstm` and :class:`Gru` have in common."""

    kind: ClassVar[str]
    gates: ClassVar[tuple[int, ...]]
    """Of torch's gates, in its order, the place of each in ours."""
    second: ClassVar[int]
    """The gates, of the first ones, to whose bias the second one is added."""
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    out: int
    """Units."""
    activation: str = "identity"
    sequences: bool = True
    """Give the units at every step; else only at the last one."""

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)

    def shape(self, of: Shape) -> Shape:
        """Return ``(steps, out)``, or ``(out,)`` of the last step alone."""
        steps, _ = steps_and_units(self.name, self.kind, of)
        return (steps, self.out) if self.sequences else (self.out,)

    def matrix(self, of: Shape) -> Matrix:
        """Return a column for each gate of each unit."""
        return matrix_of(of[-1], self.out, len(self.gates), self.second)

    def macs(self, of: Shape) -> int:
        """Return the products of all steps."""
        return of[0] * (of[-1] + self.out) * len(self.gates) * self.out

    def resize(self, units: int) -> Self:
        """Return the layer with ``units`` outputs."""
        return replace(self, out=units)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return the tensors of ``nn.LSTM`` or ``nn.GRU``."""
        return tensors_of(of[-1], w, b, self.gates)

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return matrix and bias of the tensors of ``nn.LSTM`` or ``nn.GRU``."""
        return matrix_and_bias(tensors, self.gates)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one LSTM or GRU."""
        emit_steps(draft, self, of, (w, b), source, result)


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Long short-term memory; the gates are input, output, forget and cell."""

    kind: ClassVar[str] = "lstm"
    gates: ClassVar[tuple[int, ...]] = (0, 2, 3, 1)
    second: ClassVar[int] = 4

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute the units step by step, from zero: ``[N, steps, out]``, or the last ``[N, out]``."""
        values = np.zeros((len(x), self.out), x.dtype)
        cells, found = np.zeros_like(values), []
        for step in range(x.shape[1]):
            seen = np.concatenate([x[:, step], values, np.ones((len(x), 1), x.dtype)], 1)
            enter, leave, forget, new = np.split(seen @ w + b, 4, axis=1)
            cells = sigmoid_of(forget) * cells + sigmoid_of(enter) * np.tanh(new)
            values = sigmoid_of(leave) * np.tanh(cells)
            found.append(values)
        return np.stack(found, 1) if self.sequences else values


@dataclass(frozen=True)
class Gru(Recurrent):
    """A gated recurrent unit; the gates are update, reset and new, the reset acting after the product, as in torch."""

    kind: ClassVar[str] = "gru"
    gates: ClassVar[tuple[int, ...]] = (1, 0, 2)
    second: ClassVar[int] = 2

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute the units step by step, from zero: ``[N, steps, out]``, or the last ``[N, out]``."""
        below = x.shape[2]
        values, found = np.zeros((len(x), self.out), x.dtype), []
        for step in range(x.shape[1]):
            from_below = np.split(x[:, step] @ w[:below] + b, 3, axis=1)
            from_own = np.split(values @ w[below:-1] + w[-1], 3, axis=1)
            update, reset = (sigmoid_of(one + other) for one, other in zip(from_below[:2], from_own[:2], strict=True))
            new = np.tanh(from_below[2] + reset * from_own[2])
            values = (1 - update) * new + update * values
            found.append(values)
        return np.stack(found, 1) if self.sequences else values


@dataclass(frozen=True)
class Repeat:
    """The same units at each of ``times`` steps, as decoders of series are given their code."""

    kind: ClassVar[str] = "repeat"
    flattens: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    product: ClassVar[bool] = False
    name: str
    times: int
    """Steps."""
    activation: str = "identity"

    def __post_init__(self) -> None:
        check_activation(self.name, self.activation)
        if self.times < 1:
            raise SpecError(f"model: layer {self.name} (repeat) has times = {self.times}; at least 1 is needed")

    def shape(self, of: Shape) -> Shape:
        """Return ``(times, units)``.

        Raises:
            SpecError: the rows have steps already.
        """
        if len(of) != 1:
            raise SpecError(
                f"model: layer {self.name} (repeat) takes rows of one axis, and is given rows of shape {list(of)}; "
                "let the layer before it give only its last step, or flatten"
            )
        return (self.times, *of)

    def matrix(self, of: Shape) -> Matrix:
        """Return a matrix without values."""
        return unweighted(of[-1])

    def macs(self, of: Shape) -> int:
        """Return 0: values are copied."""
        return 0

    def resize(self, units: int) -> Repeat:
        """Return the layer itself: its units are those below."""
        return self

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Copy the values, ``[N, units]`` -> ``[N, times, units]``."""
        return np.repeat(x[:, None], self.times, axis=1)

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return nothing: it has no values."""
        return {}

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return a matrix and a bias without values."""
        return np.zeros((0, 0), np.float32), np.zeros(0, np.float32)

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write one Expand."""
        axis = draft.keep(f"{self.name}.axis", np.array([2], np.int64))
        one = draft.add("Unsqueeze", [source, axis], f"{self.name}.one")
        draft.add("Expand", [one, draft.keep(f"{self.name}.times", np.array([1, 1, self.times], np.int64))], result)
