"""Pruning operators: each is a score, one number per weight, lower goes first.

An operator sees plain tensors and changes nothing; :mod:`aecompress.evolve.select` turns its scores into masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from aecompress import rng
from aecompress.nets.autoencoder import Autoencoder


@dataclass(frozen=True)
class Evidence:
    """What an operator may look at."""

    net: Autoencoder
    weights: Tensor
    """``[P, n]``."""
    seed: int
    generation: int
    moment: int
    """Which prune of the generation this is, from 0."""
    cells: Tensor
    """int64 ``[P]``, the cell indices, which key the draws."""


Score = Callable[[Evidence], Tensor]


def random(evidence: Evidence) -> Tensor:
    """Every weight equally likely: uniform draws, ``[P, model_size]``."""
    shape = (evidence.net.model_size,)
    return rng.uniform(evidence.seed, "random-score", evidence.generation, evidence.cells, evidence.moment, shape)


def magnitude(evidence: Evidence) -> Tensor:
    """|w| over the whole network (Han et al. 2015, "Learning both weights and connections"), ``[P, model_size]``."""
    return evidence.weights[:, : evidence.net.model_size].abs()


OPERATORS: dict[str, Score] = {"random": random, "magnitude": magnitude}
