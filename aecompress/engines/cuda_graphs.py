"""Steps captured once as CUDA graphs: for every network and family on a CUDA device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.cuda.costs import graph_seconds
from aecompress.engines.training import rounding
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll

DEVICES = ("cuda",)
"""Types of torch devices that these engines are for."""
EVALUATED_CELLS = 256
"""Cells of one evaluation; their number decides how sums are rounded, so it is fixed."""


def unsuited(load: Workload) -> str:
    """Return why no engine for CUDA devices can do this work; "" where they can."""
    if load.device.type not in DEVICES:
        return f"needs a CUDA device, not {load.device}"
    return "networks that change partners train step by step" if load.changes_partners else ""


@dataclass(frozen=True)
class CudaGraphs:
    """The engine of captured steps."""

    name: ClassVar[str] = "cuda-graphs"
    compiled: ClassVar[bool] = True
    devices: ClassVar[tuple[str, ...]] = DEVICES

    def why_not(self, load: Workload) -> str:
        """Return why it cannot: it does without triton, at the cost of some launches."""
        return unsuited(load)

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training."""
        return math.inf if unsuited(load) else graph_seconds(load)

    def layout(self, load: Workload) -> Blocks:
        """Return the whole population as one block."""
        return Blocks(load.cells, "operations", None)

    def prepare(self, poll: Poll) -> None:
        """Do nothing: a step is captured, within milliseconds, when its block is first trained."""

    def train(self, work: Work) -> None:
        """Train every cell of a block."""
        from aecompress.engines.cuda.graphs import train

        with rounding(work.training):  # which a captured step keeps
            train(work)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate individuals as the eager engine does, more of them at a time, in a recording."""
        from aecompress.engines.cuda.replays import evaluate

        return evaluate(net, weights, parts, metric, poll, EVALUATED_CELLS)

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs, as the eager engine does."""
        with rounding(work.training):
            return eager.train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Record the function, and replay it."""
        from aecompress.engines.cuda.replays import compute

        return compute(function, poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of the graphs' buffers: weights, moments, masks, a gradient and masks as numbers.

        Those of a ring's waves are held beside each other, but no more than some bytes of them. Besides, recordings.
        """
        from aecompress.engines.cuda import graphs, replays

        block = parameters * (value * (3 + moments) + 1)
        return max(block, min(graphs.HELD * block, graphs.HELD_BYTES)) + replays.scratch_bytes(parameters * value)
