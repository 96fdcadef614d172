"""A dataset in numbers a person can check."""

from __future__ import annotations

from typing import Any

from aecompress.data.dataset import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what a person asks of a dataset, as plain JSON values.

    ``constant_mse`` is the mean squared error of predicting the mean training row; notes of the source come last.
    """
    facts = dataset.facts
    train = dataset.train
    values = "0/1" if facts.binary else "in [0, 1]" if facts.unit else "real"
    result: dict[str, Any] = {
        "name": dataset.name,
        "inputs": facts.inputs,
        "row_shape": list(dataset.shape),
        **{f"{name}_rows": len(rows) for name, rows in dataset.splits.items()},
        "values": values,
        "minimum": float(train.min()),
        "maximum": float(train.max()),
        "mean": float(train.mean(dtype=float)),
        "scaling": dataset.scaling.kind,
        "fingerprint": dataset.fingerprint,
        "constant_mse": float(train.var(0, dtype=float).mean()),
    }
    return result | dataset.notes
