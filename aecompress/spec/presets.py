"""Presets: values that stand in for the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PAPER: dict[str, Any] = {
    "model": {"network": "paper", "initial": "torch"},
    "train": {"epochs": 400, "batch": 5, "learning_rate": 1e-5, "loss": "l1"},
    "prune": {
        "operator": "random",
        "schedule": "exponential",
        "form": "published",
        "drive": "probability",
        "masks": "free",
        "guide_split": "test",
    },
}


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with nested ``changes`` laid over it."""
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _over(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


_RING = {"cells": 10, "radius": 1, "rule": "pair", "batch": "cell"}


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published method (Jorgensen et al. 2025; ALGORITHMS A).
    "paper-canonical": _over(_PAPER, {"mode": "canonical", "train": {"betas": [0.5, 0.999], "rate": "step"}}),
    "paper-coevo": _over(
        _PAPER,
        {
            "mode": "coevo",
            "train": {"optimizer": "fresh-adam", "rate": "walk"},
            "evolve": {**_RING, "order": "asynchronous"},
        },
    ),
    "paper-coevo-sync": _over(
        _PAPER,
        {
            "mode": "coevo",
            "train": {"optimizer": "fresh-adam", "rate": "walk"},
            "evolve": {**_RING, "order": "synchronous"},
        },
    ),
}
