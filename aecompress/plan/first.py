"""The population before generation 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from aecompress.data.dataset import Dataset
from aecompress.errors import DataError
from aecompress.evolve.operators import operator_of
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.counts import cells_of
from aecompress.plan.training import DTYPES
from aecompress.population.state import Population, new_population
from aecompress.spec.fields import RunSpec

RAREST = 1e-3
"""A mean of rows in [0, 1] nearer to either end counts as this, so that its bias stays small enough to unlearn."""


MEAN_BIAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda mean: mean,
    "sigmoid": lambda mean: mean.clamp(RAREST, 1 - RAREST).logit(),
}
"""The output bias under which a network without weights gives the mean row."""


def first_population(
    spec: RunSpec,
    net: Autoencoder,
    dataset: Dataset,
    device: torch.device,
    init: Mapping[str, np.ndarray] | None = None,
) -> Population:
    """Return the individuals before generation 0: drawn, or copies of the model with the tensors ``init``.

    Under model.initial = "scaled" a drawn model begins by giving the mean training row, as far as biases can.

    Args:
        init: tensors by our names, weights ``[in, out]``.

    Raises:
        DataError: they have other shapes than the network's.
    """
    scaled = spec.model.initial == "scaled"
    needs_stats = spec.prune.operator != "none" and operator_of(spec.prune.operator).needs == "stats"
    population = new_population(
        net,
        cells_of(spec),
        spec.seed,
        float(spec.train.learning_rate),
        spec.train.optimizer == "adam",
        device,
        dtype=DTYPES[spec.precision],
        stats_batch=min(int(spec.train.batch), len(dataset.train)) if needs_stats else 0,
        gain=3**0.5 if scaled else 1.0,
    )
    views = net.layout.views(population.weights)
    last = net.decoder[-1]
    bias = views[last.name + ".bias"]
    if scaled and last.activation in MEAN_BIAS and bias.shape[-1] == dataset.train.shape[1]:
        mean = torch.from_numpy(dataset.train.mean(0, dtype=np.float64))
        bias.copy_(MEAN_BIAS[last.activation](mean))
    for name, tensor in (init or {}).items():
        given = np.atleast_2d(tensor)
        if given.shape != views[name].shape[1:]:
            raise DataError(
                f"{spec.model.init}: {name} has shape {given.shape}, the network's {tuple(views[name].shape[1:])}; "
                "give the model that the spec describes"
            )
        views[name].copy_(torch.from_numpy(given.copy()))
    return population
