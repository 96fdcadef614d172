"""A dataset in numbers a person can check."""

from __future__ import annotations

from typing import Any

from aecompress.data.dataset import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Name, shape, rows per split, kind of values, scaling, fingerprint, and the loss of the constant predictors."""
    facts = dataset.facts
    train = dataset.train
    kind = "0/1" if facts.binary else "in [0, 1]" if facts.unit else "real"
    result: dict[str, Any] = {
        "name": dataset.name,
        "inputs": facts.inputs,
        "row_shape": list(dataset.row_shape),
        **{f"{name}_rows": len(rows) for name, rows in dataset.splits.items()},
        "values": kind,
        "minimum": float(train.min()),
        "maximum": float(train.max()),
        "mean": float(train.mean(dtype=float)),
        "scaling": dataset.scaling.kind,
        "fingerprint": dataset.fingerprint,
        "constant_mse": float(train.var(0, dtype=float).mean()),
    }
    return result | dataset.notes
