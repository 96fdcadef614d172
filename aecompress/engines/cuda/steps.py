"""A training step that can be captured: all it reads and writes is its own, and nothing in it changes on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Work
from aecompress.engines.cuda.passes import Scratch, scratch_for
from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.eager import Products, products_of
from aecompress.engines.training import Training, steps_per_generation
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet, gather
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population
from aecompress.transfer import on_device

Update = Callable[[Population, Products, Tensor | None, Training, Tensor, Tensor], None]
"""Like :func:`aecompress.engines.eager.masked_update`, with step size and epsilon on the device, ``[1]`` each."""


@dataclass(frozen=True)
class Buffers:
    """What the steps of a block of P cells read and write."""

    net: Autoencoder
    training: Training
    rows: RowSet
    """``[N, D]``: the training rows, kept alive."""
    block: Population
    """A copy of the block that is trained."""
    own: Products
    kept: Tensor | None
    """The masks as numbers, where training keeps them."""
    order: Tensor
    """int64 ``[P, N]``."""
    tables: Tensor
    """``[steps of a pass, 2]``: step sizes and epsilons."""
    keys: Tensor
    """int64 ``[steps of a pass]``: keys of the noise."""
    counter: Tensor
    """int64 ``[1]``: the next step of the pass."""
    now: Tensor
    """int64 ``[1]``: the step that is made; where a step is one launch, unused."""
    columns: Tensor
    """int64 ``[B]``: 0 .. B - 1."""
    scratch: Scratch | None
    """Of narrow steps."""

    @property
    def of(self) -> int:
        """Return the steps of a pass."""
        return self.keys.shape[0]

    def rewind(self) -> None:
        """Go back to the first step of the pass."""
        self.counter.zero_()


def new_buffers(work: Work) -> Buffers:
    """Return buffers for blocks of this size, on the same rows."""
    training, block, rows = work.training, work.block.copy(), work.rows
    device, of = rows.device, steps_per_generation(rows.shape[0], training.batch)
    return Buffers(
        net=work.net,
        training=training,
        rows=rows,
        block=block,
        own=products_of(block, training),
        kept=block.masks.to(block.weights.dtype) if training.persistent_masks else None,
        order=torch.zeros((len(block), rows.shape[0]), dtype=torch.int64, device=device),
        tables=torch.ones((of, 2), dtype=block.weights.dtype, device=device),
        keys=torch.zeros(of, dtype=torch.int64, device=device),
        counter=torch.zeros(1, dtype=torch.int64, device=device),
        now=torch.zeros(1, dtype=torch.int64, device=device),
        columns=torch.arange(min(training.batch, rows.shape[0]), device=device),
        scratch=scratch_for(work),
    )


def fill(buffers: Buffers, work: Work) -> None:
    """Copy a block and what its steps look up into the buffers, without waiting for the device."""
    training, generation, steps = buffers.training, work.block.generation, work.steps
    for name, tensor in work.block.tensors().items():
        buffers.block.tensors()[name].copy_(tensor)
    buffers.block.cells.copy_(work.cells)
    if buffers.own.half:
        buffers.own.weights.copy_(buffers.block.weights)
    if buffers.kept is not None:
        buffers.kept.copy_(buffers.block.masks)
    count = buffers.rows.shape[0]
    buffers.order.copy_(rng.permutation(training.seed, "batches", generation, work.cells, 0, count))
    here = slice(steps.start, steps.stop)
    buffers.tables[here] = step_tables(training, generation, buffers.of, steps, buffers.block.weights)
    if training.noise != "none":
        keys = [rng.step_key(training.seed, "noise", generation, step) for step in steps]
        buffers.keys[here] = on_device(keys, buffers.rows.device, torch.int64)
    buffers.counter.fill_(steps.start)


def empty(buffers: Buffers, work: Work) -> None:
    """Copy what training changes back into the block."""
    mine = buffers.block.tensors()
    for name, tensor in work.block.tensors().items():
        if name in CHANGED:
            tensor.copy_(mine[name])


CHANGED = ("weights", "first_moment", "second_moment", "stats_total", "stats_square", "stats_count")
"""The tensors of a population that training changes."""


def torch_gradient(buffers: Buffers, loss: str, batch: int) -> Trace:
    """Compute the gradient of the step at the counter, with ``batch`` rows, by torch's operations."""
    net, own = buffers.net, buffers.own
    columns = buffers.counter * buffers.training.batch + buffers.columns[:batch]
    rows = gather(buffers.rows, buffers.order.index_select(1, columns))  # [P, B, D]
    views = net.layout.views(own.weights), net.layout.views(own.gradient)
    training = buffers.training
    noise = noise_of(buffers, rows)
    return gradient(net, *views, rows, noise, training.noise_level, loss=loss, code_l1=training.code_l1)


class Pieces(NamedTuple):
    """What a step is made of."""

    gradient: Callable[[Buffers, str, int], Trace]
    """Like :func:`torch_gradient`."""
    update: Update


def step(buffers: Buffers, loss: str, batch: int, pieces: Pieces) -> None:
    """Make the step at the counter, with ``batch`` rows, and count."""
    block = buffers.block
    trace = pieces.gradient(buffers, loss, batch)
    size, epsilon = buffers.tables.index_select(0, buffers.counter).unbind(1)
    pieces.update(block, buffers.own, buffers.kept, buffers.training, size, epsilon)
    if block.stats is not None:
        block.stats.add(buffers.net, trace)
    buffers.counter.add_(1)


def noise_of(buffers: Buffers, rows: Tensor) -> Tensor | None:
    """Draw what :func:`aecompress.engines.training.draw_noise` does, keyed on the device."""
    training = buffers.training
    if training.noise == "none":
        return None
    width = rows.shape[2] if training.noise == "input" else buffers.net.latent
    key = buffers.keys.index_select(0, buffers.counter)
    return rng.normal_of(key, buffers.block.cells, (rows.shape[1], width)).to(rows.dtype)
