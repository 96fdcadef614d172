"""Steps whose matrix products are torch's and all else compiled loops: for wide networks, other families and bf16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.blocks import cache_blocks
from aecompress.engines.compiling import COMPILE_SECONDS, DEVICES, GAIN, LESSER_GAIN, numba_fault, passes_fit, unsuited
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll


@dataclass(frozen=True)
class NumbaSteps:
    """The engine of compiled steps."""

    name: ClassVar[str] = "numba-steps"
    compiled: ClassVar[bool] = True
    devices: ClassVar[tuple[str, ...]] = DEVICES

    def why_not(self, load: Workload) -> str:
        """Return why it cannot; numba is imported last, and only where all else allows it."""
        return unsuited(load) or numba_fault()

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training and of compiling, once on a machine."""
        if unsuited(load):
            return math.inf
        passes = load.family == "plain" and load.precision == "float32" and passes_fit(load)
        return COMPILE_SECONDS + eager.train_seconds(load) / (LESSER_GAIN if passes else GAIN)

    def layout(self, load: Workload) -> Blocks:
        """Return blocks that fit the cache."""
        return cache_blocks(load)

    def prepare(self, poll: Poll) -> None:
        """Compile, or find what was compiled before on this machine."""
        from aecompress.engines.numba.engine import prepare

        prepare(poll)

    def train(self, work: Work) -> None:
        """Train every cell of a block."""
        from aecompress.engines.numba.steps import gradient, masked_update

        eager.train(work, update=masked_update, gradient=gradient)

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
