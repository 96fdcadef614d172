"""How a complete spec trains: losses and rates over the run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from aecompress.plan.counts import generations_of
from aecompress.spec.fields import RunSpec

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.float32, "tf32": torch.float32}
"""Number format of the weights."""


def values_of(bits: int) -> int:
    """Return how many values weights of so many bits take beside 0; 0 where they stay exact."""
    return 1 << bits if bits else 0


def loss_of(name: str, switch: int) -> Callable[[int], str]:
    """Return the training loss by generation; bce-then-l1 changes to l1 at generation ``switch``."""
    if name == "bce-then-l1":
        return lambda generation: "bce" if generation < switch else "l1"
    return lambda generation: name


def rate_of(spec: RunSpec) -> Callable[[float], float]:
    """Return the share of the base learning rate by progress of the run."""
    train = spec.train
    if train.rate == "walk":
        return lambda progress: 1.0
    if train.rate == "step":
        generations = generations_of(spec)
        # As published, the rate drops between generations, never inside one.
        return lambda progress: float(train.drop ** (int(progress * generations + 1e-9) * train.drops // generations))
    return warmup_cosine(train.warmup)


def warmup_cosine(warmup: float) -> Callable[[float], float]:
    """Return a linear rise over the first ``warmup`` of the run, then half a cosine down to 0."""

    def rate(progress: float) -> float:
        if progress < warmup:
            return (progress + 1e-4) / (warmup + 1e-4)
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))

    return rate
