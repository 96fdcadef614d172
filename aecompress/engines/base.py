"""The interface of an engine: a way to train and to evaluate a population. All engines compute the same, to rounding.

An engine is one file and one row of :data:`aecompress.engines.registry.ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from aecompress.engines.training import Step, Training
from aecompress.errors import DeviceError
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll
from aecompress.population.state import Population


@dataclass(frozen=True)
class Workload:
    """The plain facts of a run that an engine is chosen by."""

    net: Autoencoder
    device: torch.device
    precision: Literal["float32", "float64", "bf16", "tf32"]
    family: Literal["plain", "denoising", "variational"]
    optimizer: str
    batch: int
    """Rows per step."""
    cells: int
    """Individuals of the population."""
    steps: int
    """Training steps of every cell in the whole run."""
    changes_partners: bool = False
    """Whether encoders and decoders change partners from step to step (:meth:`Engine.train_pairs`)."""
    code_l1: float = 0.0
    """Factor of the penalty on the code; 0: none."""
    sparse_rows: bool = False
    """Whether rows are kept as the places of their ones (:class:`aecompress.nets.rows.SparseTensor`)."""


class Blocks(NamedTuple):
    """How a population is divided for training."""

    cells: int
    """Cells of a block, which are trained together: their weights fit the cache, or the device."""
    cores_take: Literal["operations", "blocks", "cells"]
    """What the cores share out among themselves: the inside of torch's operations, blocks, or a block's cells."""
    threads: int | None
    """Threads inside one of torch's operations; None: as many as torch is set to."""


@dataclass(frozen=True)
class Work:
    """Some steps of a pass for a block of cells: what an engine's training is given."""

    net: Autoencoder
    training: Training
    block: Population
    """Updated in place: weights, moments and activation statistics."""
    rows: RowSet
    """``[N, D]``: training rows."""
    steps: range
    """Which batches of the pass; a pass may be cut in parts."""
    poll: Poll
    """Called at least once, and before each part that cannot be stopped: a batch, or as many as take a moment."""

    @property
    def cells(self) -> Tensor:
        """Return the block's cell indices, int64 ``[P]``, which key its draws."""
        return self.block.cells


@dataclass(frozen=True)
class PairWork:
    """One update of K encoders, each with the decoder of some individual."""

    net: Autoencoder
    training: Training
    individuals: Population
    """Updated in place: weights and moments of the encoders and decoders that are named."""
    encoders: Tensor
    """int64 ``[K]``: whose encoders; none twice."""
    decoders: Tensor
    """int64 ``[K]``: whose decoders; none twice."""
    keys: Tensor
    """int64 ``[K]``, which key the noise."""
    batch: Tensor
    """``[K, B, D]``."""
    step: Step


class Evaluation(NamedTuple):
    """What a generation is judged by, still on the device."""

    losses: list[Tensor]
    """``[P]`` each: mean loss on each of some parts of the rows."""
    layer_zeros: Tensor
    """``[P, layers]``: weights and biases that are exactly 0."""
    fault: Tensor | None = None
    """int32 ``[1]``, not 0 where training went wrong before, so that these figures say nothing; None where it cannot.

    Whoever reads the figures reads it with them, and calls :func:`check_trained`."""


def check_trained(fault: list[int], device: torch.device) -> None:
    """Refuse what was trained if :attr:`Evaluation.fault` is set.

    Raises:
        DeviceError: it is; the state of the run is lost, its checkpoints are not.
    """
    if any(fault):
        raise DeviceError(
            f"{device}: the blocks of a cell did not meet while it was trained, as if another program held the device; "
            "resume the run, with --compile off if it happens again"
        )


Function = Callable[..., Tensor]
"""``(poll, *tensors)`` to a tensor: does the same operations, on those tensors alone, whenever their shapes are the
same. Hashable: equal ones are one."""


class Runner(Protocol):
    """What a run does with an engine once it is chosen."""

    @property
    def name(self) -> str:
        """Return its name in the registry and in the event log."""

    def prepare(self, poll: Poll) -> None:
        """Make ready whatever takes long: compile, capture. ``poll`` may raise to stop it."""

    def train(self, work: Work) -> None:
        """Train every cell of a block on some batches of its own shuffled pass; updates ``work.block`` in place."""

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Return the losses of individuals ``weights`` ``[P, n]`` on each of ``parts`` ``[N, D]``, and their zeros."""

    def train_pairs(self, work: PairWork) -> Trace:
        """Make one update of some pairs, in place; return what the layers gave on the batch before it."""

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Return ``function(poll, *tensors)``; an engine may record its operations and replay them."""

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of its own buffers, beside those that every engine needs (:mod:`aecompress.plan.device`).

        Args:
            parameters: of all individuals together.
            value: bytes of one of them.
            moments: Adam's, for each of them.
        """


class Engine(Runner, Protocol):
    """A way to train and to evaluate, with what it is chosen by."""

    @property
    def compiled(self) -> bool:
        """Return whether it compiles code for this machine: what the field ``compile`` turns on and off."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the types of torch devices that it is for; none: for all."""

    def why_not(self, load: Workload) -> str:
        """Return why it cannot do this work here, as a clause for the user; "" where it can."""

    def seconds(self, load: Workload) -> float:
        """Return the expected seconds of the run, compile time included; infinite where it cannot do the work.

        Depends on the facts alone, so that a run has the same bits whenever it is repeated on a machine.
        """

    def layout(self, load: Workload) -> Blocks:
        """Return how it divides the population."""
