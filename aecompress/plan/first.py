"""The population before generation 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress.data.dataset import Dataset
from aecompress.data.pca import why_no_components
from aecompress.errors import DataError
from aecompress.evolve.operators import operator_of
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.counts import cells_of
from aecompress.plan.linear_start import MARGIN, PRUNED_MARGIN, RAREST, as_they_are, begin_linear, linear_start
from aecompress.plan.training import DTYPES, values_of
from aecompress.population.state import Population, new_population
from aecompress.spec.fields import RunSpec, keeps_best

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
    initial: str
    """First weights: those of torch; scaled, which begin by giving the mean training row; pca."""
    turned: bool
    """Whether components are turned, for training and pruning; else they are exported as they are."""
    margin: float
    """Of the offsets that keep turned components above 0 (:func:`aecompress.plan.linear_start.linear_start`)."""
    init: str
    """The file of the pretrained model that they are copies of; empty: they are drawn."""
    keeps_best: bool
    """Whether each cell ends as its best generation."""
    values: int
    """That a matrix will be rounded to; 0: weights stay exact."""
    tensors: Mapping[str, NDArray[np.float32]] | None = None
    """Of that model by our names, weights ``[in, out]``."""
    pruned: bool = False
    """Whether its weights that are 0 stay so."""


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
        initial=str(spec.model.initial),
        turned=bool(spec.train.epochs or spec.prune.target_sparsity),
        margin=PRUNED_MARGIN if spec.prune.target_sparsity else MARGIN,
        init=spec.model.init,
        keeps_best=keeps_best(spec),
        values=values_of(spec.train.bits),
        tensors=tensors,
    )


def begin_with_the_mean(net: Autoencoder, views: Mapping[str, torch.Tensor], dataset: Dataset) -> None:
    """Give the output biases the values under which a network without weights gives the mean row; in place.

    Of a unit with several values on a row it is the mean of these. Where that cannot be, biases stay.
    """
    last, end = net.weighted[-1], net.decoder[-1]
    moves = net.decoder[net.decoder.index(last) + 1 :]
    steps = [last, *moves]
    if end.activation not in MEAN_BIAS or any(one.activation != "identity" for one in steps[:-1]):
        return
    if any(one.matrix.passes for one in moves) or last.biases not in (last.units, net.inputs):
        return
    order: NDArray[Any] = np.arange(net.inputs, dtype=np.float64).reshape(1, *last.gives)
    for one in moves:  # as reshape, which only move values
        order = one.layer.reference(order, np.zeros((0, 0)), np.zeros(0))
    mean = np.empty(net.inputs)
    mean[order.reshape(-1).astype(np.int64)] = dataset.train.mean(0, dtype=np.float64)
    mean = mean.reshape(-1, last.biases).mean(0)
    views[last.name + ".bias"].copy_(MEAN_BIAS[end.activation](torch.from_numpy(mean)))


def check_components(spec: RunSpec, net: Autoencoder, dataset: Dataset) -> None:
    """Refuse a network of principal components that would take too long to compute.

    Raises:
        DataError: it would.
    """
    if spec.model.network == "pca" and (why := why_no_components(dataset.train, net.latent)):
        raise DataError(f"model.network = 'pca': {why}; choose another network")


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
        gain=1.0 if first.initial == "torch" else 3**0.5,
        values=first.values,
        keeps_best=first.keeps_best,
    )
    views, masks = net.layout.views(population.weights), net.layout.views(population.masks)
    if first.initial == "pca" and not first.tensors and not why_no_components(dataset.train, net.latent):
        found = dataset.components(net.latent)
        start = linear_start(dataset.train, found, first.margin) if first.turned else as_they_are(found)
        begin_linear(net, views, start)
    elif first.initial != "torch":
        begin_with_the_mean(net, views, dataset)
    for name, tensor in (first.tensors or {}).items():
        given = np.atleast_2d(tensor)
        if given.shape != views[name].shape[1:]:
            raise DataError(
                f"{first.init}: {name} has shape {given.shape}, the network's {tuple(views[name].shape[1:])}; "
                "give the model that the spec describes"
            )
        views[name].copy_(torch.from_numpy(given.copy()))
        if first.pruned and name.endswith("weight"):
            masks[name].copy_(torch.from_numpy(given != 0))
    return population
