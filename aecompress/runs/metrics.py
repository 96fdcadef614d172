"""What a model scores on the rows of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch

from aecompress.data.dataset import Dataset
from aecompress.data.interactions import SparseRows, few
from aecompress.deploy import variants
from aecompress.deploy.checkpoint import Model
from aecompress.engines.eager import layer_zeros, evaluate
from aecompress.evolve.base import Rows
from aecompress.nets.autoencoder import Autoencoder, reconstruction_loss
from aecompress.plan.counts import budgets_of
from aecompress.plan.network import network_of
from aecompress.plan.rows import on_device
from aecompress.population.state import Population
from aecompress.runs.job import Job
from aecompress.runs.ranking import ranking
from aecompress.spec.fields import RunSpec, metric_of

VERIFIED = "verified"
"""Names the loss on the few rows that stand for a sparse set when files are verified and compared."""


def split_of(dataset: Dataset) -> str:
    """The rows that files are verified and compared on."""
    return next(name for name in ("test", "validation", "train") if name in dataset.splits)


def detection(model: Model, dataset: Dataset, name: str) -> dict[str, float]:
    """How well the reconstruction error tells the labelled anomalies of the test rows: AUROC, average precision."""
    if dataset.labels is None:
        return {}
    from sklearn.metrics import average_precision_score, roc_auc_score

    errors = variants.row_errors(model, few(dataset.test), variants.score_measure(name))
    return {
        "test_auroc": float(roc_auc_score(dataset.labels, errors)),
        "test_average_precision": float(average_precision_score(dataset.labels, errors)),
    }


def against_dense(
    job: Job, population: Population, metrics: Mapping[str, float], poll: Callable[[], None]
) -> dict[str, float]:
    """How far the reported loss lies above that of the run's dense cell, as a share, where a limit was set."""
    if not job.spec.budget.max_loss_increase:
        return {}
    row, metric = population.weights[budgets_of(job.spec).index(0.0)], job.plan.metric
    dense = final_metrics(job.net, job.dataset, job.spec, row, poll)
    splits = [split for split in ("validation", "test") if split in job.dataset.splits]
    return {
        f"{split}_loss_increase": metrics[f"{split}_{metric}"] / dense[f"{split}_{metric}"] - 1 for split in splits
    }


def final_metrics(
    net: Autoencoder, dataset: Dataset, spec: RunSpec, row: torch.Tensor, poll: Callable[[], None]
) -> dict[str, float]:
    """``<split>_<measure>`` over all rows of every split, of the float32 weights that are exported."""
    weights = net.layout.views(row[None].float())
    metrics_of = ["l1", "mse"] + (["bce"] if spec.train.loss in ("bce", "bce-then-l1") else [])
    if spec.train.loss == "huber":
        metrics_of.append("huber")
    result = {}
    for split, part in dataset.splits.items():
        rows = on_device(part, row.device, torch.float32)
        for metric in metrics_of:
            result[f"{split}_{metric}"] = float(reconstruction_loss(net, weights, rows, metric, poll)[0])
    if isinstance(dataset.test, SparseRows):
        part = few(dataset.splits[split_of(dataset)])
        seen, metric = torch.from_numpy(part).to(row.device), metric_of(spec.train.loss)
        result[f"{VERIFIED}_{metric}"] = float(reconstruction_loss(net, weights, seen, metric, poll)[0])
        scores = ranking(net, weights, dataset.test, spec.seed, poll)
        result |= {f"test_{name}": value for name, value in scores.items()}
    return result


def cell_metrics(
    job: Job, population: Population, rows: Rows, chosen: Population, poll: Callable[[], None]
) -> dict[str, float]:
    """Both counts of ALGORITHMS A7, for the chosen individual and, in a ring, for the cells; and the cells' losses.

    ``capacity`` is the share of the parameters not zero at the last prune, ``nonzero`` the share not zero now.
    """
    nonzero = 1 - layer_zeros(job.net, population.weights).sum(1) / job.net.model_size
    zeros = int(layer_zeros(job.net, chosen.weights).sum())
    counts = {"capacity": float(chosen.capacity[0]), "nonzero": 1 - zeros / job.net.model_size}
    if job.spec.mode != "coevo":
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


def with_metrics(model: Model, spec: RunSpec, dataset: Dataset) -> Model:
    """A member of the front with the metrics of a model that is handed over."""
    net = network_of(spec.model, dataset.train.shape[1])
    row = torch.cat([torch.from_numpy(np.array(model.tensors[name].T)).reshape(-1) for name in net.model_layout.slots])
    metrics = final_metrics(net, dataset, spec, row, lambda: None)
    metrics |= detection(model, dataset, metric_of(spec.train.loss))
    return dataclasses.replace(model, about={**model.about, "metrics": metrics})
