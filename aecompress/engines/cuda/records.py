"""What kernels take, grouped: no kernel has more than six parameters.

On the host a record holds tensors; in a kernel their addresses. Triton compiles a kernel anew for what it finds in a
record: the alignment of each address, numbers that are 1 or divisible by 16, and what is None. So a number that changes
from launch to launch is a parameter of its own, and the tensors of a block come from :func:`cells_of`. Triton reads no
keyword-only parameters; what is fixed when a kernel is compiled is one record too, with a capital name. No field may be
named like an attribute of Triton's own tuples, which would be read instead: values, type, count, index.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aecompress.engines.training import Training
from aecompress.population.state import Population

ACTIVATIONS = (
    "elu", "identity", "leaky-relu", "relu", "relu6", "selu", "sigmoid", "softplus", "softsign", "tanh",
)  # fmt: skip
"""Those of the kernels, whose gradient follows from what they give; :mod:`aecompress.engines.cuda.pieces` has them."""


class Cells(NamedTuple):
    """Individuals and what training changes of them."""

    w: Tensor
    """Weights ``[P, n]``."""
    m: Tensor
    """First moment; the weights again where the rule has none."""
    v: Tensor
    """Second moment, likewise."""
    masks: Tensor
    """Bytes."""
    rates: Tensor
    """Learning rates ``[P]``."""
    n: int
    """Parameters of a cell."""
    total: Tensor | None
    """Statistics: sums ``[P, BS, U]``; None where there are none."""
    square: Tensor | None
    """Sums of squares."""
    seen: Tensor | None
    """Their counts ``[P, BS]``."""


class Batches(NamedTuple):
    """What steps read, and what the blocks of a cell leave to each other."""

    rows: Tensor
    """``[N, D]``."""
    order: Tensor
    """Of each cell: int64 ``[P, N]``."""
    row_count: int
    """N."""
    tables: Tensor
    """Step size and epsilon of each step: ``[steps, 2]``."""
    between: tuple[Any, ...]
    """What else a kernel needs; it says what."""


class Row(NamedTuple):
    """One cell: addresses of its first parameter."""

    w: Tensor
    m: Tensor
    v: Tensor
    masks: Tensor


class Tile(NamedTuple):
    """Places relative to an address, and which of them exist."""

    at: Tensor
    inside: Tensor


class Rule(NamedTuple):
    """The update rule."""

    beta1: float
    beta2: float
    adam: bool
    masked: bool


class Net(NamedTuple):
    """A chain of K layers and how it is trained: fixed when a kernel is compiled."""

    sizes: tuple[int, ...]
    """Of the input and of each layer: K + 1."""
    offsets: tuple[int, ...]
    """Of each layer's weight and bias in a cell's row: 2 K."""
    acts: tuple[str, ...]
    """Activations: K."""
    rule: Rule
    loss: str
    batch: int
    """B: rows of a step."""
    tile: int
    """BP: rows of a tile, at least B."""
    width: int
    """W: columns of the tiles between the ends."""
    stretch: int
    """C: inputs that a block treats together."""
    parts: int
    """S: blocks of a cell."""
    precision: str
    """How exact products are."""
    end_precision: str
    """The same, of those going up from the inputs and at the last layer."""
    stats_batch: int
    """BS: batch positions of the statistics; 0 without."""
    units: int
    """U: units of the statistics."""


def rule_of(training: Training) -> Rule:
    """Return the update rule of a training."""
    return Rule(*training.betas, training.optimizer == "adam", training.persistent_masks)


def cells_of(block: Population) -> Cells:
    """Return a block's own tensors."""
    first, second = block.moments or (block.weights, block.weights)
    stats = block.stats
    return Cells(
        w=block.weights,
        m=first,
        v=second,
        masks=block.masks.view(torch.uint8),
        rates=block.learning_rate,
        n=block.weights.shape[1],
        total=stats.total if stats else None,
        square=stats.square if stats else None,
        seen=stats.count if stats else None,
    )


def home_of(block: Population) -> tuple[Cells, int]:
    """Return the cells that a block is a part of, up to its own last one, and the place of its own first one.

    A population's tensors lie at aligned addresses, those of a part of it anywhere.
    """
    cells = cells_of(block)
    mine = {name: value for name, value in cells._asdict().items() if isinstance(value, Tensor)}
    place = min(tensor.storage_offset() // length_of(tensor) for tensor in mine.values())
    if place == 0:
        return cells, 0
    starts = {name: tensor.storage_offset() - place * length_of(tensor) for name, tensor in mine.items()}
    moved = {name: tensor.as_strided(tensor.shape, tensor.stride(), starts[name]) for name, tensor in mine.items()}
    return Cells(**(cells._asdict() | moved)), place


def length_of(tensor: Tensor) -> int:
    """Return the values of one cell."""
    return math.prod(tensor.shape[1:])
