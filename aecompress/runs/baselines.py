"""What a model is held against, for it needs no training: the mean training row, and the principal components."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from aecompress.data.base import Floats
from aecompress.data.dataset import Dataset
from aecompress.data.pca import why_no_components
from aecompress.data.sparse import sample
from aecompress.deploy.checkpoint import Model
from aecompress.nets.losses import LOSSES
from aecompress.plan.export import Export
from aecompress.polling import Poll
from aecompress.registry import listed

CONSTANT, PCA, DENSE = "constant", "pca", "dense"
"""Endings of metrics: of the mean training row, of PCA with as large a code, of the run's best model without a zero."""
BLOCK_VALUES = 1 << 20
"""Of rows that a loss is taken on at once."""
MUCH = 1.1
"""Times the loss of the network with nothing pruned, beyond which pruning made a model worse."""
EQUAL = 1e-3
"""Share by which losses differ that rounding alone keeps apart."""


class Baselines(NamedTuple):
    """The lines of the before/after table below the files, as the event has them."""

    names: tuple[str, ...] = ()
    losses: tuple[float, ...] = ()
    nonzeros: tuple[int, ...] = ()


def baseline_metrics(dataset: Dataset, split: str, metric: str, code: int, poll: Poll) -> dict[str, float]:
    """Return the losses of both baselines, fitted on training rows, on those of a split that files are compared on.

    Args:
        code: the values of a model's code: as many components are kept.
    """
    rows = sample(dataset.splits[split])
    mean = dataset.train.mean(0, dtype=np.float64)
    found = {f"{split}_{metric}_{CONSTANT}": _loss(rows, metric, lambda some: np.broadcast_to(mean, some.shape), poll)}
    if why_no_components(dataset.train, code):
        return found
    return found | {f"{split}_{metric}_{PCA}": _loss(rows, metric, dataset.components(code).reconstruct, poll)}


def _loss(rows: Floats, metric: str, reconstruct: Callable[[Floats], Any], poll: Poll) -> float:
    """Return the mean loss over rows ``[N, D]``; cross-entropy takes outputs as probabilities, so clipped."""
    step, total = max(1, BLOCK_VALUES // rows.shape[1]), 0.0
    for start in range(0, len(rows), step):
        poll()
        some = rows[start : start + step]
        out = torch.from_numpy(np.array(reconstruct(some), np.float32))
        total += float(LOSSES[metric].value(out, torch.from_numpy(some)).sum(dtype=torch.float64))
    return total / rows.size


def baselines_of(model: Model, split: str, export: Export) -> Baselines:
    """Return the lines of the table, from the metrics of a model; none where it was evaluated by an older version."""
    inputs, code = model.inputs, math.prod(model.encoder[-1].gives)
    clipped = ", clipped" if export.metric == "bce" else ""
    lines = (
        (CONSTANT, CONSTANT, inputs),
        (f"PCA, same code{clipped}", PCA, 2 * inputs * code + inputs + code),
    )
    kept = [
        (name, loss, nonzeros)
        for name, ending, nonzeros in lines
        if (loss := loss_named(model, split, export.metric, ending)) is not None
    ]
    return Baselines(*map(tuple, zip(*kept, strict=True))) if kept else Baselines()


def loss_named(model: Model, split: str, metric: str, ending: str) -> float | None:
    """Return one of the losses beside the model's own; None where there is none."""
    found = model.about.get("metrics", {}).get(f"{split}_{metric}_{ending}")
    return None if found is None else float(found)


def against_pca(model: Model, dataset: Dataset, split: str, export: Export, loss: float, dense: float) -> str:
    """Return in one line that a model does not beat PCA, or that this is not known; empty: it does.

    Empty also where anomalies are labelled, because a good model reconstructs them badly.

    Args:
        loss: of the model, on the rows that its files are compared on.
        dense: that of the same network with nothing pruned; infinite: there is none.
    """
    code, pca = math.prod(model.encoder[-1].gives), loss_named(model, split, export.metric, PCA)
    if pca is None:
        why = why_no_components(dataset.train, code)
        return f"PCA with the same code was not computed: {why}" if why else ""
    if loss < pca * (1 + EQUAL if export.is_pca else 1 - EQUAL) or code >= model.inputs or dataset.labels is not None:
        return ""
    helps = listed(remedies(model, export, code, loss=loss, dense=dense, pca=pca))
    itself = f"`{export.pca_command} --latent {code}`" if export.pca_command else f"network='pca', latent={code}"
    return (
        f"PCA with the same code has {pca / loss:.2f}x the {export.metric} of autoencoder.onnx: {helps} may help, or "
        f"take PCA itself: {itself}"
    )


def remedies(model: Model, export: Export, code: int, *, loss: float, dense: float, pca: float) -> list[str]:
    """Return what may make a model better than PCA: less pruning where that made it worse, else more to learn from."""
    if export.is_pca or dense < pca * (1 - EQUAL):
        return ["a lower sparsity"]
    worse = loss > MUCH * dense or math.isinf(dense)
    less = ["a lower sparsity"] if model.sparsity > 0 and worse else []
    flag = "" if export.brought else f" (--latent {min(2 * code, model.inputs)})"
    return [*less, f"a larger code{flag}", "more rows"]
