"""Pruning a block of cells: ask the schedule how much, the operator which, and write the masks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aecompress.evolve.operators import Evidence, Score
from aecompress.evolve.population import Population
from aecompress.evolve.schedules import Curve
from aecompress.evolve.select import keep_weights
from aecompress.nets.autoencoder import Autoencoder


@dataclass(frozen=True)
class Pruning:
    """The fixed numbers of pruning."""

    score: Score
    target: float
    """Share of weights and biases of both networks that are zero at the end."""
    share: Curve
    per_generation: int
    """Prunes per generation, evenly over its steps, the last one after the last step."""


def zeros_asked(net: Autoencoder, pruning: Pruning, progress: float) -> int:
    """Zeros per cell that the schedule asks for at ``progress`` in [0, 1] of the run."""
    return round(pruning.target * pruning.share(progress) * net.model_size)


def prune(
    net: Autoencoder, pruning: Pruning, block: Population, cells: Tensor, seed: int, moment: int, count: int
) -> None:
    """Prune every cell of ``block`` to exactly ``count`` zeros.

    Updates masks, weights and moments in place: where a weight is pruned all three are exactly 0.

    Args:
        cells: int64 ``[P]``, the block's cell indices.
        moment: which prune of the generation this is, from 0.
    """
    evidence = Evidence(net, block.weights, seed, block.generation, moment, cells)
    block.masks.copy_(keep_weights(net, pruning.score(evidence), block.masks, count))
    block.weights.mul_(block.masks)
    for moments in block.moments or ():
        moments.mul_(block.masks)
