"""What an evolution is given and what it gives back: plan, rows, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from aecompress.engines.base import Blocks, Runner
from aecompress.engines.quantized import Quantization, Quantized
from aecompress.engines.training import Training
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.topology import Topology
from aecompress.nets.codebooks import rounded
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll
from aecompress.population.state import Population


@dataclass(frozen=True)
class Neighbourhood:
    """Who is near whom, and how a cell selects among them (ALGORITHMS A4.1-4.3)."""

    topology: Topology
    order: Literal["synchronous", "asynchronous"]
    """Whether all cells are visited at once or one after the other, each seeing those that are already updated."""
    tournament: int
    """Members that are drawn for a tournament."""
    concept: Literal["best", "mean", "worst"]
    """How a member's fitness follows from its losses with all others."""
    shared_batch: bool
    """One selection batch for the whole ring, or one per cell."""


@dataclass(frozen=True)
class Plan:
    """Everything about an evolution that does not change while it runs."""

    net: Autoencoder
    training: Training
    pruning: Pruning | None
    rule: str
    """Of :data:`aecompress.registry.RULES`: how a generation's individuals come from the last one's."""
    neighbourhood: Neighbourhood
    """What rules with space look at."""
    metric: str
    """The reported loss, and the fitness."""
    engine: Runner
    """How blocks are trained and evaluated."""
    blocks: Blocks
    """How the cells are divided for it."""
    quantization: Quantization | None = None
    """None: weights stay as exact as their number format."""

    def at(self, generation: int) -> Plan:
        """Return the plan from ``generation`` on: with an engine that rounds weights, where it is time to."""
        if self.quantization is None or generation < self.quantization.start:
            return self
        return dataclasses.replace(self, engine=Quantized(self.engine, self.quantization))

    def seen(self, population: Population) -> Tensor:
        """Return the weights ``[P, n]`` by which individuals are judged: rounded ones, once the rounding has begun."""
        quantization = self.quantization
        if quantization is None or population.generation <= quantization.start or population.levels is None:
            return population.weights
        return rounded(self.net, population.weights, population.levels, quantization.values)


@dataclass(frozen=True)
class Rows:
    """Scaled rows on the device."""

    train: RowSet
    """``[N, D]``."""
    sample: RowSet
    """``[S, D]``: training rows that a generation's training loss is taken on; the final metrics use all."""
    validation: RowSet
    """``[V, D]``; the sample where the run has no others."""
    validation_sample: RowSet
    """``[G, D]``: validation rows that a generation is evaluated on; the last one is evaluated on all."""
    guide: RowSet
    """``[G, D]``: where guide rows are drawn."""


class Visited(NamedTuple):
    """What a rule makes of a generation."""

    population: Population
    """The new individuals, trained and pruned; still counted as of the last generation."""
    parents: Tensor
    """int64 ``[P]``: the cell each individual was copied from."""
    pruned: list[bool]
    """Per cell, known on the host."""
    order: list[int]
    """The order in which cells were visited, one after the other; empty where all were at once."""


Visit = Callable[[Plan, Population, Rows, Poll], Visited]
"""A rule: makes the new individuals from the last generation, which stays as it is: selects, trains, prunes."""


@dataclass(frozen=True)
class Report:
    """A generation's figures, still on the device, so that reading them is one transfer, which nothing waits for."""

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
    fault: Tensor | None = None
    """int32 ``[1]``, as of :class:`aecompress.engines.base.Evaluation`."""
