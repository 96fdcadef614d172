"""What a step looks up on the device, so that no step has a number of its own on the host."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from aecompress.engines.training import Training, step_size
from aecompress.transfer import on_device

TOGETHER = 1 << 14
"""Steps whose numbers are copied to the device together."""
ALIGNED = 16
"""Bytes of an address that is no other to a kernel than any such."""


def step_tables(training: Training, generation: int, of: int, steps: range, like: Tensor) -> Tensor:
    """Return step sizes and epsilons of some ``steps`` of a pass of ``of`` steps, ``[steps, 2]``, not to be written to.

    Args:
        like: a tensor of the device and the number format.
    """
    passes = max(TOGETHER // of, 1) if of and generation < training.generations else 1
    table = _tables(training, generation // passes * passes, passes, of, (like.device, like.dtype))
    found = table[generation % passes, steps.start : steps.stop]
    return found if found.data_ptr() % ALIGNED == 0 else found.clone()


@functools.lru_cache(maxsize=8)
def _tables(training: Training, first: int, passes: int, of: int, place: tuple[torch.device, torch.dtype]) -> Tensor:
    """Return step sizes and epsilons of some passes from ``first`` on, ``[passes, of, 2]``, each pass aligned."""
    padded, whole = of + of % 2, training.generations * of
    last = max(min(first + passes, training.generations), first + 1)
    pairs = [
        step_size(training, generation * of + min(step, of - 1), whole)
        for generation in range(first, last)
        for step in range(padded)
    ]
    return on_device(pairs, *place).view(last - first, padded, 2)
