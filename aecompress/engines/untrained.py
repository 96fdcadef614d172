"""An engine that evaluates and does not train: for runs that only prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aecompress.engines.base import Blocks, Evaluation, Function, PairWork, Runner, Work, Workload
from aecompress.engines.blocks import step_threads
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll


@dataclass(frozen=True)
class Untrained:
    """Another engine without its training."""

    engine: Runner
    name: ClassVar[str] = "no training"

    def prepare(self, poll: Poll) -> None:
        """Make the engine beneath ready: it evaluates."""
        self.engine.prepare(poll)

    def train(self, work: Work) -> None:
        """Leave the weights as they are."""

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate with the engine beneath."""
        return self.engine.evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Refuse: rules that train pairs are ways of training."""
        raise NotImplementedError("a run without training trains no pairs")

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function in the way of the engine beneath."""
        return self.engine.compute(function, poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return 0: it trains nothing."""
        return 0


def untrained_blocks(blocks: Blocks, load: Workload) -> Blocks:
    """Return an engine's blocks for a run without training, in which the cores have no cells to share out."""
    if blocks.cores_take == "cells":
        return Blocks(blocks.cells, "operations", step_threads(load, blocks.cells))
    return blocks
