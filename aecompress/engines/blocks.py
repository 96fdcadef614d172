"""How a population is divided into blocks for the caches and the cores of the machine."""

from __future__ import annotations

import math

from aecompress.engines import workers
from aecompress.engines.base import Blocks, Workload
from aecompress.nets.shapes import Autoencoder

BLOCK_BYTES = 2_600_000
"""Weights of the cells that are trained together on a CPU: with gradients and moments they should stay in its cache."""
ONE_THREAD_FLOP = 10_000_000
"""Floating-point operations of a training step below which a second thread costs more than it brings."""


def multiplied_again(net: Autoencoder) -> list[int]:
    """Return the multiply-adds of one row beyond one per weight, of the layers whose weights meet it several times."""
    again = (layer.macs - layer.inputs * layer.outputs for layer in net.weighted)
    return [extra for extra in again if extra > 0]


def step_flop(load: Workload, cells: int) -> int:
    """Return the floating-point operations of one training step of a block of ``cells`` cells."""
    return 6 * (load.net.layout.size + sum(multiplied_again(load.net))) * load.batch * min(cells, load.cells)


def held_bytes(load: Workload) -> int:
    """Return the bytes of a cell that should stay in the cache: its weights, and where rows have places, a batch."""
    values = sum(math.prod(layer.gives) for layer in load.net.layers)
    placed = any(len(layer.gives) > 1 for layer in load.net.layers)
    return 4 * (load.net.layout.size + (load.batch * values if placed else 0))


def step_threads(load: Workload, cells: int) -> int | None:
    """Return the threads inside the operations of a block of ``cells`` cells, where no core has work of its own.

    One for small steps on a CPU, where a busy second core would slow them many times.
    """
    return 1 if load.device.type == "cpu" and step_flop(load, cells) < ONE_THREAD_FLOP else None


def cache_blocks(load: Workload) -> Blocks:
    """Return blocks whose weights fit a core's cache; a GPU takes the whole population at once.

    Where steps are large enough to keep a core busy between two calls from Python, each core trains blocks of its own,
    which needs no waiting inside an operation.
    """
    if load.device.type != "cpu":
        return Blocks(load.cells, "operations", None)
    cells = max(1, BLOCK_BYTES // held_bytes(load))
    if load.cells > 1 and step_flop(load, cells) >= ONE_THREAD_FLOP:
        return Blocks(min(cells, -(-load.cells // workers.cores())), "blocks", 1)
    return Blocks(cells, "operations", step_threads(load, cells))
