"""What an evolution is given and what it gives back: plan, rows, report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from aecompress.engines.base import Engine
from aecompress.engines.training import Training
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.topology import Topology
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.rows import RowSet


@dataclass(frozen=True)
class Ring:
    """The fixed numbers of coevolution (ALGORITHMS A4)."""

    topology: Topology
    asynchronous: bool
    tournament: int
    concept: Literal["best", "mean", "worst"]
    shared_batch: bool
    """One selection batch for the whole ring, or one per cell."""
    prune_first: bool
    opponents: bool
    """Whether the networks of the selected pair train with others of the neighbourhood, and not with each other."""
    panmictic: bool
    """Whether there is no space: every encoder trains with every decoder."""
    dominance: bool
    """Whether a cell takes the best pair of its neighbourhood only where that beats its own at its own budget."""


@dataclass(frozen=True)
class Plan:
    """Everything about an evolution that does not change while it runs."""

    net: Autoencoder
    training: Training
    pruning: Pruning | None
    ring: Ring | None
    metric: str
    """The reported loss, and the fitness."""
    block: int
    """Cells that are trained together: their weights fit the cache, or the device."""
    apart: bool
    """Whether each core of a CPU trains blocks of its own; then torch's operations take one thread."""
    engine: Engine
    """How blocks are trained and measured."""


@dataclass(frozen=True)
class Rows:
    """Scaled rows on the device."""

    train: RowSet
    """``[N, D]``."""
    sample: RowSet
    """``[S, D]``: training rows that a generation's training loss is measured on; the final metrics use all."""
    validation: RowSet
    """``[V, D]``; the sample where the run has no others."""
    validation_sample: RowSet
    """``[G, D]``: validation rows that a generation is measured on; the last one is measured on all."""
    guide: RowSet
    """``[G, D]``: where guide rows are drawn."""


@dataclass(frozen=True)
class Report:
    """A generation's figures, still on the device, so that reading them is one transfer."""

    train_loss: Tensor
    """``[P]``."""
    validation_loss: Tensor
    """``[P]``."""
    layer_zeros: Tensor
    """``[P, layers]``: weights and biases that are exactly 0."""
    parents: Tensor
    """int64 ``[P]``: the cell each individual was copied from."""
    pruned: list[bool]
    """Per cell, known on the host."""
    order: list[int]
    """The order in which cells were visited, one after the other; empty where all were at once."""
