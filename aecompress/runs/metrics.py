"""The metrics of a model on the rows of a run."""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress.data.dataset import Dataset
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.sparse import few, sample
from aecompress.deploy.checkpoint import Model
from aecompress.deploy.expected import score_metric
from aecompress.deploy.variants import scorer
from aecompress.engines.eager import evaluate
from aecompress.evolve.base import Rows
from aecompress.nets.autoencoder import layer_zeros, reconstruction_loss
from aecompress.nets.layers import forward
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.export import Export
from aecompress.plan.rows import on_device
from aecompress.polling import Poll, no_poll
from aecompress.population.state import Population
from aecompress.registry import RULES
from aecompress.runs.baselines import DENSE, baseline_metrics
from aecompress.runs.job import Job
from aecompress.runs.model import model_of

BROUGHT = "brought"
"""Ending of the metric of a model from elsewhere, as it was brought in."""
VERIFIED = "verified"
"""Prefix of the loss on the few rows that stand for a set when files are verified and compared, where not all do."""

KindMetrics = Callable[[Autoencoder, dict[str, torch.Tensor], Any, int, Poll], dict[str, float]]
"""(network, weights of one individual, test rows of the kind, seed, poll) -> values by name."""


def evaluated(job: Job, population: Population, rows: Rows, members: Population, chosen: int, poll: Poll) -> Model:
    """Return a member of the front as a model with all its metrics.

    Args:
        population: the cells after the last generation.
        members: the front.
        chosen: index of the member.
    """
    row = members.weights[chosen]
    model = model_of(job, row, {})
    metrics = split_metrics(job.net, job.dataset, job.export, row, poll)
    metrics |= cell_metrics(job, population, rows, members.pick(torch.tensor([chosen])), poll)
    metrics |= dense_metrics(job, population, metrics, poll)
    metrics |= code_metrics(job, row) if job.plan.training.code_l1 else {}
    metrics |= detection_metrics(model, job.dataset, job.plan.metric)
    metrics |= baseline_metrics(job.dataset, verified_split(job.dataset), job.plan.metric, job.net.latent, poll)
    metrics |= unpruned_metrics(job, population, poll) if job.brought is None else brought_metrics(job, poll)
    return dataclasses.replace(model, about={**model.about, "metrics": metrics})


def brought_metrics(job: Job, poll: Poll) -> dict[str, float]:
    """Return the loss of the model that a run began with, as it was brought in."""
    assert job.brought is not None
    split, metric = verified_split(job.dataset), job.plan.metric
    rows = torch.from_numpy(sample(job.dataset.splits[split]))
    flat = [torch.from_numpy(job.brought.tensors[name].reshape(-1)) for name in job.net.model_layout.slots]
    weights = job.net.model_layout.views(torch.cat(flat)[None])
    return {f"{split}_{metric}_{BROUGHT}": float(reconstruction_loss(job.net, weights, rows, metric, poll)[0])}


def unpruned_metrics(job: Job, population: Population, poll: Poll) -> dict[str, float]:
    """Return the loss of the best cell that nothing was pruned of, on the rows that files are compared on; or none.

    The best is that with the least loss on validation rows. Masks show what was pruned where they are fixed: weights of
    first components are 0 where an input is constant.
    """
    if job.plan.pruning is None or job.plan.pruning.persistent:
        pruned = ~population.masks.all(1)
    else:
        pruned = layer_zeros(job.net, population.weights).sum(1) > 0
    best = int(population.fitness.masked_fill(pruned, torch.inf).argmin())
    if bool(pruned[best]):
        return {}
    split, metric = verified_split(job.dataset), job.plan.metric
    rows = torch.from_numpy(sample(job.dataset.splits[split])).to(population.weights.device)
    weights = job.net.layout.views(population.weights[best : best + 1].float())
    return {f"{split}_{metric}_{DENSE}": float(reconstruction_loss(job.net, weights, rows, metric, poll)[0])}


def code_metrics(job: Job, row: torch.Tensor) -> dict[str, float]:
    """Return how many values of a row's code are not 0, in the mean, and how many are 0 on every row looked at.

    Args:
        row: the parameters ``[n]``.
    """
    split = verified_split(job.dataset)
    rows = torch.from_numpy(sample(job.dataset.splits[split])).to(row)
    code = forward(job.net.encoder, job.net.layout.views(row[None]), rows.flatten(1)[None]).out[-1][0].flatten(1)
    active = code != 0
    dead = int((~active.any(0)).sum())
    return {f"{split}_code_active": float(active.sum(1, dtype=torch.float32).mean()), f"{split}_code_dead": float(dead)}


def with_metrics(model: Model, export: Export, dataset: Dataset) -> Model:
    """Return a saved member of the front with the metrics that do not need the population."""
    net = Autoencoder(model.encoder, model.decoder)
    row = torch.cat([torch.from_numpy(np.array(model.tensors[name])).reshape(-1) for name in net.model_layout.slots])
    metrics = split_metrics(net, dataset, export, row, no_poll)
    metrics |= baseline_metrics(dataset, verified_split(dataset), export.metric, net.latent, no_poll)
    metrics |= detection_metrics(model, dataset, export.metric)
    return dataclasses.replace(model, about={**model.about, "metrics": metrics})


def verified_split(dataset: Dataset) -> str:
    """Return the split that files are verified and compared on."""
    return next(name for name in ("test", "validation", "train") if name in dataset.splits)


def split_metrics(
    net: Autoencoder, dataset: Dataset, export: Export, row: torch.Tensor, poll: Poll
) -> dict[str, float]:
    """Return ``<split>_<metric>`` over all rows of every split, and the loss on those that files are verified on.

    Args:
        row: the parameters ``[n]``, taken as the float32 weights that are exported.
    """
    weights = net.layout.views(row[None].float())
    metrics = {}
    for split, part in dataset.splits.items():
        rows = on_device(part, row.device, torch.float32)
        for name in export.losses:
            metrics[f"{split}_{name}"] = float(reconstruction_loss(net, weights, rows, name, poll)[0])
    part = dataset.splits[verified_split(dataset)]
    if len(some := sample(part)) < len(part) or dataset.kind.metrics:
        rows = torch.from_numpy(some).to(row.device)
        metrics[f"{VERIFIED}_{export.metric}"] = float(reconstruction_loss(net, weights, rows, export.metric, poll)[0])
    return metrics | kind_metrics(net, weights, dataset, export, poll)


def kind_metrics(
    net: Autoencoder, weights: dict[str, torch.Tensor], dataset: Dataset, export: Export, poll: Poll
) -> dict[str, float]:
    """Return the metrics that the kind of data has of its own."""
    if not dataset.kind.metrics:
        return {}
    metrics: KindMetrics = pkgutil.resolve_name(dataset.kind.metrics)
    scores = metrics(net, weights, dataset.test, export.seed, poll)
    return {f"test_{name}": value for name, value in scores.items()}


def cell_metrics(job: Job, population: Population, rows: Rows, chosen: Population, poll: Poll) -> dict[str, float]:
    """Return both counts of ALGORITHMS A7 for the chosen individual and, in a ring, for the cells with their losses.

    ``capacity`` is the share of the parameters not zero at the last prune, ``nonzero`` the share not zero now. Losses
    are the eager engine's, whichever one trained, so that how they are rounded depends on the device alone.
    """
    nonzero = 1 - layer_zeros(job.net, population.weights).sum(1) / job.net.model_size
    zeros = int(layer_zeros(job.net, chosen.weights).sum())
    counts = {"capacity": float(chosen.capacity[0]), "nonzero": 1 - zeros / job.net.model_size}
    if RULES[job.plan.rule].mode == "canonical":
        return counts
    losses = evaluate(job.net, population.weights, [rows.train], job.plan.metric, poll).losses[0]
    losses = losses[losses.isfinite()]
    if not len(losses):
        return counts
    name = f"train_{job.plan.metric}_cells"
    return counts | {
        name: float(losses.mean()),
        name + "_median": float(losses.quantile(0.5)),
        "capacity_cells": float(population.capacity.mean()),
        "nonzero_cells": float(nonzero.mean()),
    }


def dense_metrics(job: Job, population: Population, metrics: Mapping[str, float], poll: Poll) -> dict[str, float]:
    """Return how far the reported loss lies above that of the run's dense cell, as a share, where a limit was set."""
    if not job.goal.max_loss_increase:
        return {}
    row, metric = population.weights[job.goal.dense_cell], job.plan.metric
    dense = split_metrics(job.net, job.dataset, job.export, row, poll)
    splits = [split for split in ("validation", "test") if split in job.dataset.splits]
    return {f"{split}_loss_increase": metrics[f"{split}_{metric}"] / dense[f"{split}_{metric}"] - 1 for split in splits}


def detection_metrics(model: Model, dataset: Dataset, name: str) -> dict[str, float]:
    """Return AUROC and average precision of the reconstruction error on labelled test rows; without labels none."""
    if dataset.labels is None:
        return {}
    parts = dataset.test.blocks() if isinstance(dataset.test, ScaledRows) else [few(dataset.test)]
    errors = np.concatenate([scorer.row_errors(model, part, score_metric(name)) for part in parts])
    found = detection(dataset.labels, errors)
    return {f"test_{name}": value for name, value in found.items()}


def detection(labels: NDArray[Any], errors: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return AUROC and average precision of ``errors`` ``[N]`` for ``labels`` ``[N]``, where 1 is an anomaly."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auroc": float(roc_auc_score(labels, errors)),
        "average_precision": float(average_precision_score(labels, errors)),
    }


def with_scorers(model: Model, found: Mapping[str, float]) -> Model:
    """Return the model with what was ``found`` of its variants' scorers on test rows, and of no earlier ones."""
    others = ("test_auroc_", "test_average_precision_")
    metrics = {name: value for name, value in model.about["metrics"].items() if not name.startswith(others)}
    metrics |= {f"test_{name}": value for name, value in found.items()}
    return dataclasses.replace(model, about={**model.about, "metrics": metrics})
