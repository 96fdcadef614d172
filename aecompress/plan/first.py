"""The population before generation 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress.data.dataset import Dataset
from aecompress.errors import DataError
from aecompress.evolve.operators import operator_of
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.counts import cells_of
from aecompress.plan.training import DTYPES, values_of
from aecompress.population.state import Population, new_population
from aecompress.spec.fields import RunSpec

RAREST = 1e-3
"""A mean of rows in [0, 1] nearer to either end counts as this, so that its bias stays small enough to unlearn."""


MEAN_BIAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda mean: mean,
    "sigmoid": lambda mean: mean.clamp(RAREST, 1 - RAREST).logit(),
}
"""The output bias under which a network without weights gives the mean row."""


@dataclass(frozen=True)
class First:
    """How the individuals before generation 0 are made."""

    seed: int
    cells: int
    """Individuals of the population."""
    learning_rate: float
    has_moments: bool
    """Whether the optimizer's moments are kept from generation to generation."""
    dtype: torch.dtype
    """Number format of the weights."""
    stats_batch: int
    """Rows per step that activation statistics are kept for; 0: the operator needs none."""
    scaled: bool
    """Whether a drawn model begins by giving the mean training row, as far as biases can."""
    init: str
    """The file of the pretrained model that they are copies of; empty: they are drawn."""
    values: int
    """That a matrix will be rounded to; 0: weights stay exact."""
    tensors: Mapping[str, NDArray[np.float32]] | None = None
    """Of that model by our names, weights ``[in, out]``."""


def first_of(spec: RunSpec, tensors: Mapping[str, NDArray[np.float32]] | None = None) -> First:
    """Return how a complete spec begins, with the ``tensors`` of the pretrained model that it names."""
    needs_stats = spec.prune.operator != "none" and operator_of(spec.prune.operator).needs == "stats"
    return First(
        seed=spec.seed,
        cells=cells_of(spec),
        learning_rate=float(spec.train.learning_rate),
        has_moments=spec.train.optimizer == "adam",
        dtype=DTYPES[spec.precision],
        stats_batch=int(spec.train.batch) if needs_stats else 0,
        scaled=spec.model.initial == "scaled",
        init=spec.model.init,
        values=values_of(spec.train.bits),
        tensors=tensors,
    )


def first_population(first: First, net: Autoencoder, dataset: Dataset, device: torch.device) -> Population:
    """Return the individuals before generation 0: drawn, or copies of a pretrained model.

    Raises:
        DataError: its tensors have other shapes than the network's.
    """
    population = new_population(
        net,
        first.cells,
        first.seed,
        first.learning_rate,
        first.has_moments,
        device,
        dtype=first.dtype,
        stats_batch=min(first.stats_batch, len(dataset.train)),
        gain=3**0.5 if first.scaled else 1.0,
        values=first.values,
    )
    views = net.layout.views(population.weights)
    last = net.decoder[-1]
    bias = views[last.name + ".bias"]
    if first.scaled and last.activation in MEAN_BIAS and bias.shape[-1] == dataset.train.shape[1]:
        mean = torch.from_numpy(dataset.train.mean(0, dtype=np.float64))
        bias.copy_(MEAN_BIAS[last.activation](mean))
    for name, tensor in (first.tensors or {}).items():
        given = np.atleast_2d(tensor)
        if given.shape != views[name].shape[1:]:
            raise DataError(
                f"{first.init}: {name} has shape {given.shape}, the network's {tuple(views[name].shape[1:])}; "
                "give the model that the spec describes"
            )
        views[name].copy_(torch.from_numpy(given.copy()))
    return population
