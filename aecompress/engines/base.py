"""The interface of an engine: a way to train and to measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from aecompress.engines.training import Step, Training
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.population.state import Population

Poll = Callable[[], None]
"""Called before every batch; raises to stop the run there."""


@dataclass(frozen=True)
class Work:
    """Some steps of a pass for a block of cells: what an engine's training is given."""

    net: Autoencoder
    training: Training
    block: Population
    """Updated in place: weights, moments and activation statistics."""
    cells: Tensor
    """int64 ``[P]``, the block's cell indices, which key its draws."""
    rows: RowSet
    """``[N, D]``: training rows."""
    steps: range
    """Which batches of the pass; a pass may be cut in parts."""
    poll: Poll
    """Called before every batch; raises to stop there."""


class Evaluation(NamedTuple):
    """What a generation is judged by, still on the device."""

    losses: list[Tensor]
    """``[P]`` each: mean loss on each of some parts of the rows."""
    layer_zeros: Tensor
    """``[P, layers]``: weights and biases that are exactly 0."""


TrainBlock = Callable[[Autoencoder, Training, Population, Tensor, RowSet, range, Poll], None]
"""Trains a block on some steps of its pass, like :func:`aecompress.engines.eager.train`."""


@dataclass(frozen=True)
class Engine:
    """A way to train and to measure; all ways compute the same, to rounding."""

    name: str
    train: TrainBlock
    """Like :func:`aecompress.engines.eager.train`."""
    evaluate: Callable[[Autoencoder, Tensor, Sequence[RowSet], str, Poll], Evaluation]
    """Like :func:`aecompress.engines.eager.evaluate`."""
    together: Callable[[Autoencoder, Training, Population, tuple[Tensor, Tensor], Tensor, Tensor, Step], Trace]
    """Like :func:`aecompress.engines.eager.train_together`."""
    whole_passes: bool = False
    """Whether training takes a core per cell and returns after many steps."""
    compiled: bool = False
    """Whether it compiles code for this machine."""
