"""Steps of networks with convolutions, an individual at a time, whose products are torch's and all else compiled."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines import eager, workers
from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.compiling import (
    COMPILE_SECONDS,
    CONVOLVED,
    DEVICES,
    GAIN,
    PERMUTED,
    RENAMED,
    numba_fault,
    unlinked,
    unsuited,
)
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll


@dataclass(frozen=True)
class NumbaConvolutions:
    """The engine of compiled convolutions."""

    name: ClassVar[str] = "numba-convolutions"
    compiled: ClassVar[bool] = True
    devices: ClassVar[tuple[str, ...]] = DEVICES

    def why_not(self, load: Workload) -> str:
        """Return why it cannot; numba is imported last, and only where all else allows it."""
        return self._unfit(load) or numba_fault()

    def _unfit(self, load: Workload) -> str:
        if not any(layer.kind in CONVOLVED for layer in load.net.layers):
            return "networks without convolutions have engines of their own"
        if why := unsuited(load, ("dense", *CONVOLVED, *RENAMED, PERMUTED)) or unlinked(load.net.layers):
            return why
        if load.code_l1:
            return "convolutions with a penalty on the code train uncompiled"
        if load.family == "variational":
            return "convolutions of the variational family train uncompiled"
        return "convolutions are compiled in float32" if load.precision != "float32" else ""

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training and of compiling, once on a machine."""
        return math.inf if self._unfit(load) else COMPILE_SECONDS + eager.train_seconds(load) / GAIN

    def layout(self, load: Workload) -> Blocks:
        """Return blocks of one cell, which fills a cache; where there are fewer than cores, these share its batches."""
        return Blocks(1, "blocks", 1) if load.cells >= workers.cores() else Blocks(load.cells, "cells", 1)

    def prepare(self, poll: Poll) -> None:
        """Compile, or find what was compiled before on this machine."""
        from aecompress.engines.numba.engine import prepare

        prepare(poll)

    def train(self, work: Work) -> None:
        """Train every cell of a block."""
        from aecompress.engines.numba.convolutions import gradient
        from aecompress.engines.numba.steps import masked_update

        traced = work.block.stats is not None
        eager.train(work, update=masked_update, gradient=functools.partial(gradient, traced=traced))

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate individuals as the eager engine does."""
        return eager.evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs, as the eager engine does."""
        return eager.train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function."""
        return function(poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return 0: it has no large buffers of its own."""
        return 0
