"""The parameters of the estimator: the words of the command line's flags, and the fields of a spec that they set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aecompress.spec.fields import FIELDS, RunSpec
from aecompress.spec.resolve import Resolved, resolve
from aecompress.spec.toml import flatten

FIELD_OF = {
    "mode": "mode",
    "network": "model.network",
    "hidden": "model.hidden",
    "latent": "model.latent",
    "family": "model.family",
    "epochs": "train.epochs",
    "batch": "train.batch",
    "learning_rate": "train.learning_rate",
    "loss": "train.loss",
    "bits": "train.bits",
    "cells": "evolve.cells",
    "operator": "prune.operator",
    "schedule": "prune.schedule",
    "target_sparsity": "prune.target_sparsity",
    "granularity": "prune.granularity",
    "regrowth": "prune.regrowth",
    "max_loss_increase": "budget.max_loss_increase",
    "split": "data.split",
    "scaling": "data.scaling",
    "label": "data.label",
    "missing": "data.missing",
    "dates": "data.dates",
    "categories": "data.categories",
    "quantile": "export.quantile",
    "device": "device",
    "compile": "compile",
}
"""Parameter -> field. ``random_state`` is the field ``seed``; ``settings`` has any others."""
SOURCE = "X"
"""What rows in memory are called where a file has its name."""


def resolved_of(parameters: Mapping[str, Any], seed: int, data: Mapping[str, Any]) -> Resolved:
    """Return the spec of an estimator's parameters.

    Args:
        data: dotted field -> value, of the rows that it is fitted to.

    Raises:
        SpecError: with every fault found, each naming its parameter and value.
    """
    fields: dict[str, tuple[str, Any]] = {}
    for name, field in FIELD_OF.items():
        value = plain(parameters[name])
        if name == "hidden" and isinstance(value, int):
            value = [value]
        if not is_default(field, value):
            fields[field] = (name, value)
    settings = flatten(dict(parameters["settings"] or {}))
    fields |= {field: ("settings", plain(value)) for field, value in settings.items()}
    return resolve(fields | {"seed": ("random_state", seed)} | {field: ("X", value) for field, value in data.items()})


def names_columns(parameters: Mapping[str, Any]) -> bool:
    """Return whether parameters name columns, which only a table has."""
    settings = flatten(dict(parameters["settings"] or {}))
    return bool(parameters["label"] or settings.keys() & {"data.label", "data.columns", "data.split_by"})


def in_python(message: str) -> str:
    """Return a message with the flags that it names written as parameters: ``--dates drop`` as ``dates='drop'``."""
    return re.sub(
        r"--([a-z-]+) ([\w.-]+)",
        lambda flag: f"{name}={flag[2]!r}" if (name := flag[1].replace("-", "_")) in FIELD_OF else flag[0],
        message,
    )


def plain(value: Any) -> Any:
    """Return a parameter as a spec has it: NumPy's numbers as Python's, tuples and arrays as lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def is_default(field: str, value: Any) -> bool:
    """Return whether a value is that of a spec that leaves the field out."""
    default = FIELDS[field]
    same = list(default) == value if isinstance(default, tuple) else default == value
    return same and isinstance(value, bool) == isinstance(default, bool)


def parameters_of(spec: RunSpec) -> dict[str, Any]:
    """Return the parameters under which an estimator has the settings of ``spec``, but for its rows."""
    values = flatten(spec.model_dump())
    found = {name: values[field] for name, field in FIELD_OF.items()}
    left = {field: value for field, value in values.items() if field not in FIELD_OF.values()}
    ignored = ("seed", "data.source", "data.val", "data.test", "data.labels", "checkpoint_every")
    others = {field: value for field, value in left.items() if field not in ignored and value != FIELDS[field]}
    return found | {"random_state": spec.seed, "settings": others or None}
