"""What a step looks up on the device, so that no step has a number of its own on the host."""

from __future__ import annotations

from torch import Tensor

from aecompress.engines.training import Training, step_size
from aecompress.transfer import on_device


def step_tables(training: Training, generation: int, of: int, steps: range, like: Tensor) -> Tensor:
    """Return step sizes and epsilons of some ``steps`` of a pass of ``of`` steps, ``[steps, 2]``.

    Args:
        like: a tensor of the device and the number format.
    """
    first, whole = generation * of, training.generations * of
    pairs = [step_size(training, first + step, whole) for step in steps]
    return on_device(pairs, like.device, like.dtype).view(len(steps), 2)
