"""A dataset in numbers a person can check."""

from __future__ import annotations

from typing import Any

import numpy as np

from aecompress.data.chosen import Chosen
from aecompress.data.dataset import Dataset
from aecompress.data.scaling import along, floats
from aecompress.data.sparse import Rows


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what a person asks of a dataset, as plain JSON values.

    ``constant_mse`` is the mean squared error of predicting the mean training row; notes of the source come last.
    """
    facts = dataset.facts
    train = dataset.train
    mean, variance = moments(train)
    values = "0/1" if facts.binary else "in [0, 1]" if facts.unit else "real"
    result: dict[str, Any] = {
        "name": dataset.name,
        "inputs": facts.inputs,
        "row_shape": list(dataset.shape),
        **{f"{name}_rows": len(rows) for name, rows in dataset.splits.items()},
        "values": values,
        "minimum": float(train.min()),
        "maximum": float(train.max()),
        "mean": mean,
        "scaling": dataset.scaling.kind,
        "fingerprint": dataset.fingerprint,
        "constant_mse": variance,
    }
    return result | dataset.notes


def moments(rows: Rows) -> tuple[float, float]:
    """Return the mean of all values, and the mean over the inputs of their variances; of an array, block by block."""
    if not isinstance(rows, np.ndarray):
        return float(rows.mean()), float(rows.var(0).mean())
    mean = floats(along(np.add, map(floats, Chosen(rows).blocks()))) / len(rows)
    squares = ((floats(block) - mean) ** 2 for block in Chosen(rows).blocks())
    return float(mean.mean()), float(floats(along(np.add, squares)).mean() / len(rows))
