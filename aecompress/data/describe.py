"""A dataset in numbers a person can check."""

from __future__ import annotations

from typing import Any

from aecompress.data.dataset import Dataset
from aecompress.data.interactions import SparseRows


def describe(dataset: Dataset) -> dict[str, Any]:
    """Name, shape, rows per split, kind of values, scaling, fingerprint, and the loss of the constant predictors."""
    facts = dataset.facts
    train = dataset.train
    share = train.mean(0, dtype=float)
    variance = share * (1 - share) if isinstance(train, SparseRows) else train.var(0, dtype=float)
    kind = "0/1" if facts.binary else "in [0, 1]" if facts.unit else "real"
    result: dict[str, Any] = {
        "name": dataset.name,
        "inputs": facts.inputs,
        "row_shape": list(dataset.row_shape),
        **{f"{name}_rows": len(rows) for name, rows in dataset.splits.items()},
        "values": kind,
        "minimum": 0.0 if isinstance(train, SparseRows) else float(train.min()),
        "maximum": 1.0 if isinstance(train, SparseRows) else float(train.max()),
        "mean": float(train.mean(dtype=float)),
        "scaling": dataset.scaling.kind,
        "fingerprint": dataset.fingerprint,
        "constant_mse": float(variance.mean()),
    }
    return result | dataset.notes
