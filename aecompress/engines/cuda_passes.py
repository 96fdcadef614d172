"""Whole passes in one kernel: for narrow plain networks on a CUDA device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines import cuda_graphs, eager
from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Work, Workload
from aecompress.engines.cuda.available import triton_fault
from aecompress.engines.cuda.costs import pass_seconds
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll


@dataclass(frozen=True)
class CudaPasses:
    """The engine of whole passes."""

    name: ClassVar[str] = "cuda-passes"
    compiled: ClassVar[bool] = True
    devices: ClassVar[tuple[str, ...]] = cuda_graphs.DEVICES

    def why_not(self, load: Workload) -> str:
        """Return why it cannot; triton is imported last, and only where all else allows it."""
        return cuda_graphs.unsuited(load) or self._other(load) or triton_fault()

    def _other(self, load: Workload) -> str:
        from aecompress.engines.cuda.passes import unfit

        if load.sparse_rows:
            return "sparse rows are not trained in whole passes on a GPU"
        if load.code_l1:
            return "whole passes on a GPU have no penalty on the code"
        if load.family != "plain":
            return f"whole passes are of the plain family, not {load.family!r}"
        return "whole passes are in float32" if load.precision != "float32" else unfit(load.net, load.batch)

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of training and of compiling."""
        return math.inf if cuda_graphs.unsuited(load) or self._other(load) else pass_seconds(load)

    def layout(self, load: Workload) -> Blocks:
        """Return the whole population as one block."""
        return Blocks(load.cells, "operations", None)

    def prepare(self, poll: Poll) -> None:
        """Do nothing: the kernel of a network is compiled, within seconds, when it is first trained."""

    def train(self, work: Work) -> None:
        """Train every cell of a block, in one launch."""
        from aecompress.engines.cuda.passes import train

        train(work)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate individuals as the eager engine does, more of them at a time, with the fault of their passes."""
        from aecompress.engines.cuda.passes import taken_fault
        from aecompress.engines.cuda.replays import evaluate

        found = evaluate(net, weights, parts, metric, poll, cuda_graphs.EVALUATED_CELLS)
        return found._replace(fault=taken_fault(weights.device))

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs, as the eager engine does."""
        return eager.train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Record the function, and replay it."""
        from aecompress.engines.cuda.replays import compute

        return compute(function, poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of recordings: passes have no large buffers of their own."""
        from aecompress.engines.cuda.replays import scratch_bytes

        return scratch_bytes(parameters * value)
