"""The device of a run, and whether its memory holds it."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import torch

from aecompress.data.dataset import Dataset
from aecompress.engines import cuda_graphs, eager
from aecompress.errors import DeviceError, SpecError
from aecompress.evolve.archive import PER_GAP
from aecompress.evolve.base import Plan
from aecompress.evolve.visit import PRUNED_ON_DEVICE
from aecompress.machine import gib, memory_bytes
from aecompress.nets.autoencoder import rows_together, widest
from aecompress.nets.shapes import Autoencoder
from aecompress.parsing import quoted
from aecompress.plan.counts import cells_of, members_of
from aecompress.plan.training import DTYPES
from aecompress.registry import RULES
from aecompress.spec.fields import RunSpec, keeps_best

PRUNE_BYTES = 28
"""Of a weight that is pruned on a device, as measured (docs/gpu.md)."""
CUT_BYTES = 24
"""Of a weight of a member that is cut to size for the archive: its score and its rank, as measured on 4 models of 18
million parameters."""
ALIVE = 4
"""Tensors of rows that are there at once while a loss is taken: the last layer's before and after its activation, and
what the loss makes of them. Of wide rows they are large."""


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


def devices_to_resume(name: str) -> list[torch.device]:
    """Return the devices that a run may be resumed on: those of its spec, or, where this machine has none, any."""
    try:
        return devices_for(name)
    except DeviceError:
        return devices_for("auto")


def devices_reading(name: str, devices: list[torch.device]) -> list[torch.device]:
    """Return those of ``devices`` that train on rows which are read from their file.

    Raises:
        DeviceError: none does; ``name`` is what the spec names.
    """
    found = [device for device in devices if device.type == "cpu"]
    if not found:
        raise DeviceError(
            f"device = {name!r:.200}: rows that are read from their file train on the CPU; choose --device cpu, "
            "or --in-memory yes where the rows fit"
        )
    return found


def card_of(device: torch.device) -> dict[str, str]:
    """Return what a device is, in words: its name, what it can compute, and the versions of its libraries."""
    if device.type != "cuda":
        return {"name": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()}
    card, versions = torch.cuda.get_device_properties(device), {"cuda": str(torch.version.cuda)}
    if find_spec("triton") is not None:
        versions["triton"] = metadata.version("triton")
    return {"name": card.name, "capability": f"{card.major}.{card.minor}", **versions}


def moved(before: str, was: Mapping[str, object], device: torch.device) -> str:
    """Return in one sentence that a run is resumed on another device; "" where it is not.

    Args:
        before: the device that it ran on, with the card ``was``; empty in the status files of earlier builds.
    """
    card = card_of(device)
    same = before.partition(":")[0] in ("", device.type)
    if same and all(was.get(key, card[key]) == card[key] for key in ("name", "capability")):
        return ""
    there, here = described(before, was), described(str(device), card)
    return f"the run was begun on {there} and resumes on {here}, where sums may be rounded otherwise"


def described(device: str, card: Mapping[str, object]) -> str:
    """Return a device with its name and capability, as far as they are known."""
    facts = [quoted(card[key]) for key in ("name", "capability") if key in card]
    return f"{quoted(device)} ({', '.join(facts)})" if facts else quoted(device)


def values_alive(net: Autoencoder) -> int:
    """Return the values that are there at once while a row's loss is taken.

    Of channels at places, which are many more than inputs, those of every layer before and after its activation, and
    what a convolution unfolds.
    """
    places = [layer for layer in net.layers if len(layer.gives) > 1]
    unfolded = (layer.macs // layer.units for layer in places if len(layer.given) > 1)
    return ALIVE * net.inputs + 2 * sum(math.prod(layer.gives) for layer in places) + max(unfolded, default=0)


def check_memory(plan: Plan, spec: RunSpec, dataset: Dataset, device: torch.device) -> None:
    """Refuse a run that the machine cannot hold.

    Raises:
        SpecError: with what it needs and what there is.
    """
    value = torch.finfo(DTYPES[spec.precision]).bits // 8
    moments = 2 if spec.train.optimizer == "adam" else 0
    cells = cells_of(spec)
    # Two generations of weights, moments and masks, on a GPU a third, which is begun before the first has been read;
    # gradient and scratch of one block; 16 bytes per first draw.
    generations = 3 if device.type == "cuda" else 2
    individual = plan.net.layout.size * (generations * (value * (1 + moments) + 1))
    scratch = plan.net.layout.size * max(16 * cells, 3 * value * min(plan.blocks.cells, cells))
    every = cells * plan.net.layout.size
    if device.type == "cuda":
        scratch = max(scratch, PRUNE_BYTES * min(every, max(PRUNED_ON_DEVICE, plan.net.layout.size)))
    together = min(cells, cuda_graphs.EVALUATED_CELLS if device.type == "cuda" else eager.EVALUATED_CELLS)
    batch = min(plan.training.batch, max(len(rows) for rows in dataset.splits.values()))
    alive = max(together * rows_together(together, widest(plan.net)), cells * members_of(spec) * batch)
    scratch = max(scratch, value * alive * values_alive(plan.net))
    scratch += plan.at(plan.training.generations).engine.scratch_bytes(every, value, moments)
    copies = cells * members_of(spec) * individual // generations if RULES[plan.rule].copies_neighbourhood else 0
    # After the last generation, members are interpolated: the best so far, their rivals, and what ranks their weights.
    interpolated = PER_GAP * (cells - 1) if RULES[plan.rule].own_budgets else 0
    filling = interpolated * (2 * individual // generations + CUT_BYTES * plan.net.layout.size)
    needed = cells * individual + max(copies + scratch, filling)
    needed += value * sum(rows.size for rows in dataset.splits.values())
    needed += generations * every * (value + 1) if keeps_best(spec) else 0
    available = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory_bytes()
    if needed > available:
        free = "has {} free" if device.type == "cuda" else "has {}"
        held = value * sum(rows.size for rows in dataset.splits.values() if isinstance(rows, np.ndarray))
        mostly_rows = held > needed // 2 and needed - held <= available
        cure = "--in-memory no, which leaves rows in their file" if mostly_rows else "fewer rows"
        raise SpecError(
            f"model: {cells} cells of {plan.net.layout.size:,} parameters with their rows need {gib(needed)}, "
            f"{device} {free.format(gib(available))}; choose smaller layers, fewer cells or {cure}"
        )
