"""The model's card, a template with the figures of the run: its metrics, its files, how to run it."""

from __future__ import annotations

import math
import re
from importlib import metadata
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from aecompress import events
from aecompress.data.dataset import Dataset
from aecompress.deploy import bench, verify
from aecompress.deploy.checkpoint import Model
from aecompress.errors import printable
from aecompress.layers.words import shapes_of
from aecompress.nets.losses import LOSSES
from aecompress.plan.export import Export
from aecompress.printable import one_line
from aecompress.runs.metrics import verified_split

DENSE = "dense"
"""The name of the model of the same shape with no weight zero, in the before/after table."""
DETECTION = ("auroc", "average_precision")
"""Metrics of runs with labelled anomalies."""
MARKS = re.compile(r"[<`|!\[]|&(?=[#\w])")
"""Characters that would begin something else than text, as names of files may hold them."""
MOST_NAMES = 20
"""Columns that the card names; config.json names all."""


def model_card(
    model: Model,
    dataset: Dataset,
    export: Export,
    verification: verify.Verification,
    compared: events.Compared,
    takes: str,
) -> str:
    """Return the model's README in Markdown.

    Args:
        takes: which rows the files take and give: raw or scaled.
    """
    environment = Environment(
        loader=PackageLoader("aecompress.runs", "."),
        autoescape=False,  # Markdown, not HTML
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template("card.md").render(
        model_values(model, dataset)
        | row_values(model, dataset, takes)
        | {
            "max_difference": verification.max_difference,
            "checks": len(verification.checks),
            "head": compared.table()[0],
            "rows": compared.table()[1:],
            "notes": compared.notes,
            "dense": DENSE,
            "trained": math.isfinite(compared.losses[0]),
            "metric": export.metric,
            "split": verified_split(dataset),
            "machine": bench.machine(),
            "kept": export.rows > 0,
            "version": metadata.version("aecompress"),
            "spec_hash": export.spec_hash,
            "seed": export.seed,
            "bits": export.bits if few_values(model, 1 << export.bits) else 0,
        }
    )


def few_values(model: Model, count: int) -> bool:
    """Return whether the weights of each layer take no more than ``count`` values beside 0."""
    weights = (model.tensors[layer.name + ".weight"] for layer in model.layers)
    return all(len(np.unique(weight[weight != 0])) <= count for weight in weights)


def in_markdown(text: str) -> str:
    """Return text that stays text in a line of Markdown: on one line, and without tags, tables, links or code."""
    return MARKS.sub(lambda found: f"&#{ord(found.group())};", one_line(text))


def model_values(model: Model, dataset: Dataset) -> dict[str, Any]:
    """Return the values of the template that belong to the model: its sizes and its metrics."""
    metrics = model.about["metrics"]
    names = [name for name in LOSSES if f"train_{name}" in metrics]
    detection = {name: f"{metrics[f'test_{name}']:.4f}" for name in DETECTION} if "test_auroc" in metrics else {}
    return {
        "name": in_markdown(dataset.name),
        "network": shapes_of(model.layers),
        "zeros": model.zeros,
        "parameters": model.parameters,
        "sparsity": model.sparsity,
        "metrics": names,
        "losses": {split: [f"{metrics[f'{split}_{name}']:.6f}" for name in names] for split in dataset.splits},
        "detection": detection,
        "code": {name: in_markdown(str(value)) for name, value in model.about.get("code", {}).items()},
    }


def row_values(model: Model, dataset: Dataset, takes: str) -> dict[str, Any]:
    """Return the values of the template that belong to the rows that the files take."""
    names = dataset.inputs
    return {
        "takes": takes,
        "identity": dataset.scaling.identity,
        "shape": model.shape,
        "columns": [in_markdown(name) for name in names[:MOST_NAMES]],
        "more_columns": len(names) - MOST_NAMES,
        "encoded": dataset.encoding is not None and not dataset.encoding.plain,
        "decisions": [in_markdown(decision) for decision in dataset.decisions],
        "window": dataset.window,
        "stride": dataset.stride,
        "window_shape": dataset.shape,
        "group": in_markdown(dataset.group),
    }
