"""Whole passes in compiled loops, a cell per core: for narrow networks, or few rows per step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines import eager, workers
from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.compiling import COMPILE_SECONDS, DEVICES, GAIN, LESSER_GAIN, numba_fault, passes_fit, unsuited
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll

PASS_BYTES = 16_000_000
"""Weights of the cells that are copied out for compiled passes."""


@dataclass(frozen=True)
class NumbaPasses:
    """The engine of compiled passes."""

    name: ClassVar[str] = "numba-passes"
    compiled: ClassVar[bool] = True
    devices: ClassVar[tuple[str, ...]] = DEVICES

    def why_not(self, load: Workload) -> str:
        """Return why it cannot; numba is imported last, and only where all else allows it."""
        return unsuited(load) or self._other(load) or numba_fault()

    def _other(self, load: Workload) -> str:
        if load.code_l1:
            return "whole passes are compiled without a penalty on the code"
        if load.family != "plain":
            return f"whole passes are compiled for the plain family, not {load.family!r}"
        return "whole passes are compiled in float32" if load.precision != "float32" else ""

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training and of compiling, once on a machine."""
        if unsuited(load) or self._other(load):
            return math.inf
        return COMPILE_SECONDS + eager.train_seconds(load) / (GAIN if passes_fit(load) else LESSER_GAIN)

    def layout(self, load: Workload) -> Blocks:
        """Return blocks that only bound memory: the cores take the cells of a block.

        Their number is a multiple of the cores', so that no core waits at the end of a block.
        """
        turns = max(PASS_BYTES // (4 * load.net.layout.size) // workers.cores(), 1)
        return Blocks(turns * workers.cores(), "cells", 1)

    def prepare(self, poll: Poll) -> None:
        """Compile, or find what was compiled before on this machine."""
        from aecompress.engines.numba.engine import prepare

        prepare(poll)

    def train(self, work: Work) -> None:
        """Train every cell of a block, a cell per core."""
        from aecompress.engines.numba.engine import train

        train(work)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate individuals, a cell per core."""
        from aecompress.engines.numba.engine import evaluate

        return evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs, as the eager engine does."""
        return eager.train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function."""
        return function(poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return 0: it has no large buffers of its own."""
        return 0
