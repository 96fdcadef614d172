"""What a step looks up on the device, so that no step has a number of its own on the host."""

from __future__ import annotations

from torch import Tensor

from aecompress.engines.training import Training, step_size
from aecompress.transfer import on_device


def step_tables(training: Training, generation: int, of: int, steps: range, like: Tensor) -> Tensor:
    """Return step sizes and epsilons of some ``steps`` of a pass of ``of`` steps, ``[2, steps]``.

    Args:
        like: a tensor of the device and the number format.
    """
    first, whole = generation * of, training.generations * of
    pairs = [step_size(training, first + step, whole) for step in steps]
    sizes, epsilons = [size for size, _ in pairs], [epsilon for _, epsilon in pairs]
    return on_device([*sizes, *epsilons], like.device, like.dtype).view(2, len(steps))
