"""The device of a run, and whether its memory holds it."""

from __future__ import annotations

import torch

from aecompress.data.dataset import Dataset
from aecompress.errors import DeviceError, SpecError
from aecompress.evolve.base import Plan
from aecompress.evolve.rules.registry import RULES
from aecompress.machine import gib, memory_bytes
from aecompress.plan.counts import cells_of, members_of
from aecompress.plan.training import DTYPES
from aecompress.spec.fields import RunSpec


def find_device(name: str) -> torch.device:
    """Return the device a spec names; ``auto`` is a CUDA device, else the CPU.

    Raises:
        DeviceError: it is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device = {name!r:.200}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use; "
            "choose --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device = {name!r:.200}: torch finds no MPS device here; choose --device cpu or auto")
    return device


def devices_for(name: str) -> list[torch.device]:
    """Return the devices that a spec's name leaves to choose from: for ``auto`` a CUDA device and the CPU.

    Raises:
        DeviceError: the one that is named is not on this machine.
    """
    if name == "auto" and torch.cuda.is_available():
        return [torch.device("cuda"), torch.device("cpu")]
    return [find_device(name)]


def check_memory(plan: Plan, spec: RunSpec, dataset: Dataset, device: torch.device) -> None:
    """Refuse a run that the machine cannot hold.

    Raises:
        SpecError: with what it needs and what there is.
    """
    value = torch.finfo(DTYPES[spec.precision]).bits // 8
    moments = 2 if spec.train.optimizer == "adam" else 0
    cells = cells_of(spec)
    # Two generations of weights, moments and masks; gradient and scratch of one block; 16 bytes per first draw.
    individual = plan.net.layout.size * (2 * (value * (1 + moments) + 1))
    scratch = plan.net.layout.size * max(16 * cells, 3 * value * min(plan.blocks.cells, cells))
    copies = cells * members_of(spec) * individual // 2 if RULES[plan.rule].copies_neighbourhood else 0
    needed = cells * individual + copies + scratch + value * sum(rows.size for rows in dataset.splits.values())
    available = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else memory_bytes()
    if needed > available:
        raise SpecError(
            f"model: {cells} cells of {plan.net.layout.size:,} parameters with their rows need {gib(needed)}, "
            f"{device} has {gib(available)}; choose smaller layers, fewer cells or fewer rows"
        )
