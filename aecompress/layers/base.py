"""The contract of a layer kind: a matrix with two index maps, a NumPy reference, and its ONNX operators.

A layer's trainable values are one matrix ``[fan_in, columns]`` and a bias ``[columns]``. A *unit* is what pruning
removes as a whole: an output of a dense layer, a channel of a convolution. Two maps say how the matrix belongs to
units, so that every rule about units is one line over them, whatever the kind:

    ``reads``   the unit below that each weight reads
    ``writes``  the unit that each column belongs to

Values are channels-last everywhere but in torch's files and in ONNX graphs. Layers without weights, as pools, leave
units as they are, and rules about units look past them: the reader of a layer is the next one with weights. They also
look past those that have a slope for each unit, as prelu; the slope goes with the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
"""Shape of one row's values, without the batch; where it has several axes, the last one counts units."""
Values = NDArray[np.floating[Any]]
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The trainable values of a layer, and which units they belong to.

    The maps are made when they are first needed: a size alone must not take memory.
    """

    fan_in: int
    """Rows of the matrix."""
    columns: int
    """Columns of the matrix, and values of the bias."""
    below: int
    """Units below."""
    units: int
    """Units of the layer; every unit has as many columns."""
    biases: bool = True
    """False: the layer has no bias."""
    passes: bool = False
    """Whether its units are those below, in their order, as those of a pool; weights, if any, are a slope for each."""
    second: int = 0
    """Columns, the first ones, to whose bias the last row adds, which reads no unit."""
    reads_of: Callable[[], Index] | None = None
    """Makes :attr:`reads`; None: row i reads unit i."""
    writes_of: Callable[[], Index] | None = None
    """Makes :attr:`writes`; None: column i is unit i."""

    @cached_property
    def reads(self) -> Index:
        """Return the unit below that each weight reads.

        ``[fan_in, 1]`` where every column reads the same units, ``[1, columns]`` where each column reads a single one,
        else ``[fan_in, columns]``. From :attr:`below` on they are the layer's own units, as recurrent weights read
        them, and ``below + units`` is none at all.
        """
        return np.arange(self.fan_in, dtype=np.int64)[:, None] if self.reads_of is None else self.reads_of()

    @cached_property
    def writes(self) -> Index:
        """Return the unit that each column belongs to, ``[columns]``."""
        return np.arange(self.columns, dtype=np.int64) if self.writes_of is None else self.writes_of()

    @property
    def plain_reads(self) -> bool:
        """Return whether row i reads unit i."""
        return self.reads_of is None

    @property
    def plain_writes(self) -> bool:
        """Return whether column i is unit i."""
        return self.writes_of is None

    @cached_property
    def tied(self) -> bool:
        """Return whether each column reads a single unit, so that units go together with those below."""
        return self.reads_of is not None and self.reads.shape[0] == 1 and (self.reads.shape[1] > 1 or self.passes)

    @cached_property
    def grouped(self) -> bool:
        """Return whether columns read different units, several each, so that none of these can be taken out."""
        return self.reads_of is not None and min(self.reads.shape) > 1

    @cached_property
    def recurs(self) -> bool:
        """Return whether some weights read the layer's own units."""
        return self.reads_of is not None and self.reads.size > 0 and bool(self.reads.max() >= self.below)


def unweighted(below: int, units: int | None = None) -> Matrix:
    """Return the matrix of a layer without weights.

    Args:
        units: that it gives, which are others than those below; None: they are these.
    """
    count = below if units is None else units
    return Matrix(fan_in=0, columns=0, below=below, units=count, biases=False, passes=units is None)


class Draft(Protocol):
    """An ONNX graph while it is written; it knows operators by name only.

    When it is finished, a Transpose that follows another becomes one with it, and those that change nothing go. So a
    layer may turn what it is given as it needs it, and turn its result back.
    """

    @property
    def opset(self) -> int:
        """Return the version of ONNX's operators."""

    def add(self, op: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any) -> str:
        """Add one node; return the name of its output, of several the last one."""

    def turned(self, name: str, whole: Sequence[int], order: Sequence[int], shape: Sequence[int]) -> str:
        """Return the name of a stored tensor taken as of shape ``whole``, its axes in ``order``, as of ``shape``."""

    def split(self, name: str, rows: Sequence[int]) -> list[str]:
        """Return the names of the parts of a stored matrix that have so many ``rows``, one after another."""

    def stacked(self, names: Sequence[str], shape: Sequence[int]) -> str:
        """Return the name of stored vectors put one after another, seen as of ``shape``."""

    def keep(self, name: str, values: NDArray[Any] | float) -> str:
        """Store a constant under ``name``; return its name."""


class Layer(Protocol):
    """A layer kind's numbers; what follows from the shape that it is given is computed from both.

    Kinds are frozen dataclasses, whose fields but the name are what ``config.json`` says of a layer.
    """

    kind: ClassVar[str]
    """Its row in :data:`aecompress.layers.kinds.KINDS`."""
    flattens: ClassVar[bool]
    """Whether it takes rows of one axis: a network that begins with it is given flat rows ``[D]``."""
    product: ClassVar[bool]
    """Whether it is one product of rows and matrix: two such can become one, be rounded by what they read, and be
    computed in integers."""

    @property
    def name(self) -> str:
        """Return the prefix of its tensors' names, for example ``encoder.0``."""

    @property
    def activation(self) -> str:
        """Return what comes after it, a name of :data:`aecompress.layers.activations.ACTIVATIONS`."""

    @property
    def pads(self) -> bool:
        """Return whether some places read fewer values than others, as those beside a border of zeros.

        Then only a constant 0 below can be folded into its bias.
        """

    def shape(self, of: Shape) -> Shape:
        """Return the shape of what it gives for rows of shape ``of``.

        Raises:
            SpecError: it cannot be given such rows; the message says both shapes.
        """

    def matrix(self, of: Shape) -> Matrix:
        """Return the matrix and its maps for rows of shape ``of``."""

    def macs(self, of: Shape) -> int:
        """Return the multiply-adds of one row."""

    def resize(self, units: int) -> Self:
        """Return the same layer with another number of units."""

    def reference(self, x: Values, w: Values, b: Values) -> Values:
        """Compute in NumPy what it gives before its activation.

        Args:
            x: ``[N, *of]``; w: ``[fan_in, columns]``; b: ``[columns]``, all of one number format.
        """

    def to_torch(self, of: Shape, w: Values, b: Values) -> dict[str, Values]:
        """Return the tensors that torch's own module of this kind has for them, by their names there.

        Most have ``weight`` and ``bias``; a layer without weights has none.
        """

    def from_torch(self, of: Shape, tensors: Mapping[str, Values]) -> tuple[Values, Values]:
        """Return the matrix ``[fan_in, columns]`` and the bias of these: the inverse of :meth:`to_torch`."""

    def emit(self, draft: Draft, of: Shape, w: str, b: str, source: str, result: str) -> None:
        """Write the nodes that compute ``result`` from ``source``, without the activation.

        Both are channels-first: of a shape ``(*places, units)`` the value is ``[N, units, *places]``.

        Args:
            w, b: names of float32 values ``[fan_in, columns]`` and ``[columns]``; "" where there are none.
        """


@dataclass(frozen=True)
class BoundLayer:
    """A layer in its chain: bound to the shape that it is given."""

    layer: Layer
    given: Shape

    @property
    def name(self) -> str:
        """Return the prefix of its tensors' names."""
        return self.layer.name

    @property
    def kind(self) -> str:
        """Return its kind's name."""
        return self.layer.kind

    @property
    def activation(self) -> str:
        """Return the activation after it."""
        return self.layer.activation

    @cached_property
    def gives(self) -> Shape:
        """Return the shape of what it gives."""
        return self.layer.shape(self.given)

    @cached_property
    def matrix(self) -> Matrix:
        """Return its matrix and maps."""
        return self.layer.matrix(self.given)

    @cached_property
    def inputs(self) -> int:
        """Return the rows of its weight."""
        return self.matrix.fan_in

    @cached_property
    def outputs(self) -> int:
        """Return the columns of its weight."""
        return self.matrix.columns

    @cached_property
    def units(self) -> int:
        """Return the number of units that pruning can remove."""
        return self.matrix.units

    @cached_property
    def size(self) -> int:
        """Return the number of weights and biases."""
        return self.inputs * self.outputs + self.biases

    @cached_property
    def biases(self) -> int:
        """Return the number of biases."""
        return self.outputs if self.matrix.biases else 0

    @cached_property
    def weighted(self) -> bool:
        """Return whether it has weights."""
        return self.size > 0

    @cached_property
    def follows(self) -> bool:
        """Return whether its weights belong to the units below, as slopes do."""
        return self.weighted and self.matrix.passes

    @property
    def macs(self) -> int:
        """Return the multiply-adds of one row."""
        return self.layer.macs(self.given)


def bind(layers: Sequence[Layer], shape: Shape) -> tuple[BoundLayer, ...]:
    """Return ``layers`` as a chain on rows of ``shape``, each bound to what the one before it gives.

    Raises:
        SpecError: a layer cannot be given what comes to it.
    """
    chain = []
    for layer in layers:
        chain.append(BoundLayer(layer, shape))
        shape = chain[-1].gives
    return tuple(chain)
