"""What a step looks up on the device, so that no step has a number of its own on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecompress.engines.training import Training, step_size


def on_device(values: Sequence[float] | Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor ``[K]`` on the device, without waiting for it."""
    host = torch.tensor(values, dtype=dtype)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host


def step_tables(training: Training, generation: int, of: int, steps: range, like: Tensor) -> Tensor:
    """Return step sizes and epsilons of some ``steps`` of a pass of ``of`` steps, ``[2, steps]``.

    Args:
        like: a tensor of the device and the number format.
    """
    first, whole = generation * of, training.generations * of
    pairs = [step_size(training, first + step, whole) for step in steps]
    sizes, epsilons = [size for size, _ in pairs], [epsilon for _, epsilon in pairs]
    return on_device([*sizes, *epsilons], like.dtype, like.device).view(2, len(steps))
