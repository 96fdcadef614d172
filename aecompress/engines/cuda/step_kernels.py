"""The gradient of a training step with everything between its matrix products in few kernels.

The products are a library's. Between them stand: the batch gathered; bias and activation; at the output bias,
activation and loss; on the way back activation and the sum for the bias.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.pieces import activated, activation_backward, output_delta
from aecompress.engines.cuda.steps import Buffers, noise_of
from aecompress.layers.base import BoundLayer
from aecompress.nets.layers import Trace, product

STRETCH, COLUMNS, ROWS = 1024, 64, 64
"""Values of a block; columns of a block and rows of its turns, at most, where it sums over the rows."""


class Noise(NamedTuple):
    """What is added to a batch."""

    drawn: Tensor
    """``[P, B, D]``."""
    level: float


class Given(NamedTuple):
    """The rows of a pass."""

    rows: Tensor
    """``[N, D]``."""
    order: Tensor
    """``[P, N]``."""
    counter: Tensor
    row_count: int
    """N."""
    inputs: int
    """D."""


class Values(NamedTuple):
    """What a layer gave, or its gradient, and what a kernel reads and writes beside it."""

    out: Tensor
    """``[P, B, M]``, in place."""
    weights: Tensor | None = None
    """All parameters ``[P, n]``, the layer's biases among them."""
    gradients: Tensor | None = None
    """The same, of gradients."""
    beside: Tensor | None = None
    """The batch; after an inner layer, what it gave: ``[P, B, M]``."""
    before: Tensor | None = None
    """Where values before the activation go, ``[P, B, M]``."""


class Sizes(NamedTuple):
    """The size of a layer."""

    rows: int
    """B."""
    columns: int
    """M."""


class Kind(NamedTuple):
    """What is fixed when a kernel is compiled."""

    activation: str
    loss: str
    stretch: int
    columns: int
    rows: int


@triton.jit
def gather_kernel(batch, inputs, given, noise, SIZE: tl.constexpr, STRETCH: tl.constexpr):
    """Copy a stretch of one row of a cell's batch; into ``inputs`` with noise, or in their number format.

    SIZE is the rows of the batch, and of a whole one; ``inputs`` and ``noise`` may be None.
    """
    place = tl.program_id(0)
    cell, b = (place // SIZE[0]).to(tl.int64), place % SIZE[0]
    i = tl.program_id(1) * STRETCH + tl.arange(0, STRETCH)
    row = tl.load(given.order + cell * given.row_count + tl.load(given.counter) * SIZE[1] + b)
    x = tl.load(given.rows + row * given.inputs + i, mask=i < given.inputs, other=0.0)
    at = place.to(tl.int64) * given.inputs + i
    tl.store(batch + at, x, mask=i < given.inputs)
    if noise is not None:
        x = x + noise.level * tl.load(noise.drawn + at, mask=i < given.inputs, other=0.0)
    if inputs is not None:
        tl.store(inputs + at, x.to(inputs.dtype.element_ty), mask=i < given.inputs)


@triton.jit(do_not_specialize=["n", "offset"])
def activation_kernel(layer, n, offset, size, KIND: tl.constexpr):
    """Add the bias, at ``offset`` of a cell, to a stretch of its values and apply the activation, in place."""
    NAME: tl.constexpr = KIND.activation
    cell = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * KIND.stretch + tl.arange(0, KIND.stretch)
    count = size.rows * size.columns
    inside = at < count
    bias = tl.load(layer.weights + cell * n + offset + at % size.columns, mask=inside, other=0.0).to(tl.float32)
    pre = tl.load(layer.out + cell * count + at, mask=inside, other=0.0).to(tl.float32) + bias
    tl.store(layer.out + cell * count + at, activated(pre, NAME).to(layer.out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["n", "offset"])
def output_kernel(layer, n, offset, scale, size, KIND: tl.constexpr):
    """Turn some columns of a cell's last products into the gradient before the activation, in place.

    Writes the gradient of the bias, their sum, and, unless it is None, what they were ``before`` the activation.
    """
    NAME: tl.constexpr = KIND.activation
    COLUMNS: tl.constexpr = KIND.columns
    LOSS: tl.constexpr = KIND.loss
    B, D = size
    cell = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    kind = layer.out.dtype.element_ty
    bias = tl.load(layer.weights + cell * n + offset + i, mask=i < D, other=0.0).to(tl.float32)
    total = tl.zeros((COLUMNS,), tl.float32)
    for begin in range(0, B, KIND.rows):
        b = begin + tl.arange(0, KIND.rows)
        here = (b[:, None] < B) & (i[None, :] < D)
        at = (cell * B + b[:, None]) * D + i[None, :]
        pre = tl.load(layer.out + at, mask=here, other=0.0).to(tl.float32) + bias[None, :]
        if layer.before is not None:
            tl.store(layer.before + at, pre.to(kind), mask=here)
        x = tl.load(layer.beside + at, mask=here, other=0.0)
        delta = tl.where(here, output_delta(activated(pre, NAME), x, scale, LOSS, NAME), 0.0).to(kind)
        tl.store(layer.out + at, delta, mask=here)
        total += tl.sum(delta.to(tl.float32), 0)
    tl.store(layer.gradients + cell * n + offset + i, total.to(kind), mask=i < D)


@triton.jit(do_not_specialize=["n", "offset"])
def delta_kernel(layer, n, offset, size, KIND: tl.constexpr):
    """Turn some columns of a cell's gradient after an activation into that before it, in place.

    Writes the gradient of the bias, their sum.
    """
    NAME: tl.constexpr = KIND.activation
    COLUMNS: tl.constexpr = KIND.columns
    B, M = size
    cell = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    kind = layer.out.dtype.element_ty
    total = tl.zeros((COLUMNS,), tl.float32)
    for begin in range(0, B, KIND.rows):
        b = begin + tl.arange(0, KIND.rows)
        here = (b[:, None] < B) & (i[None, :] < M)
        at = (cell * B + b[:, None]) * M + i[None, :]
        grad = tl.load(layer.out + at, mask=here, other=0.0).to(tl.float32)
        out = tl.load(layer.beside + at, mask=here, other=0.0).to(tl.float32)
        delta = activation_backward(grad, out, NAME).to(kind)
        tl.store(layer.out + at, delta, mask=here)
        total += tl.sum(tl.where(here, delta.to(tl.float32), 0.0), 0)
    tl.store(layer.gradients + cell * n + offset + i, total.to(kind), mask=i < M)


def gathered(buffers: Buffers, size: int) -> tuple[Tensor, Tensor]:
    """Return the batch at the counter, ``[P, B, D]``, and the input of the network, which may be the same."""
    rows, own, training = buffers.rows, buffers.own, buffers.training
    assert isinstance(rows, Tensor)
    cells, inputs = len(buffers.block), rows.shape[1]
    batch = rows.new_empty((cells, size, inputs))
    drawn = noise_of(buffers, batch)
    noise = None if drawn is None else Noise(drawn, training.noise_level)
    copy = batch.new_empty(batch.shape, dtype=own.weights.dtype) if noise or own.half else None
    given = Given(rows, buffers.order, buffers.counter, rows.shape[0], inputs)
    gather_kernel[(cells * size, triton.cdiv(inputs, STRETCH))](
        batch, copy, given, noise, SIZE=(size, training.batch), STRETCH=STRETCH, num_warps=4
    )
    return batch, batch if copy is None else copy


def kind_of(layer: BoundLayer, loss: str, size: int) -> Kind:
    """Return what the kernels of a layer are compiled for, with batches of ``size`` rows."""
    return Kind(layer.activation, loss, STRETCH, COLUMNS, min(ROWS, triton.next_power_of_2(size)))


def fused_gradient(buffers: Buffers, loss: str, size: int) -> Trace:
    """Do the work of :func:`aecompress.engines.cuda.steps.torch_gradient`, to rounding.

    Of the plain and the denoising family, on dense rows, with layers of
    :data:`aecompress.engines.cuda.records.ACTIVATIONS`.
    """
    net, own, n = buffers.net, buffers.own, buffers.own.weights.shape[1]
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    offsets = {layer.name: net.layout.slots[layer.name + ".bias"].offset for layer in net.layers}
    batch, below = gathered(buffers, size)
    cells, layers, last = len(buffers.block), net.layers, net.layers[-1]
    values = [below]
    for layer in layers:
        values.append(product(values[-1], weights[layer.name + ".weight"]))  # [P, B, out]
        if layer is not last:
            activation_kernel[(triton.cdiv(size * layer.outputs, STRETCH), cells)](
                Values(values[-1], own.weights), n, offsets[layer.name], Sizes(size, layer.outputs),
                KIND=kind_of(layer, "", size), num_warps=4,
            )  # fmt: skip
    delta = values.pop()
    before = torch.empty_like(delta) if buffers.block.stats is not None else None
    pre = delta if before is None else before
    output_kernel[(triton.cdiv(last.outputs, COLUMNS), cells)](
        Values(delta, own.weights, own.gradient, batch, before), n, offsets[last.name], 1.0 / (size * last.outputs),
        Sizes(size, last.outputs), KIND=kind_of(last, loss, size), num_warps=8,
    )  # fmt: skip
    for k in range(len(layers) - 1, -1, -1):
        weight = layers[k].name + ".weight"
        torch.bmm(values[k].transpose(1, 2), delta, out=gradients[weight])
        if k:
            under, delta = layers[k - 1], product(delta, weights[weight].transpose(1, 2))
            delta_kernel[(triton.cdiv(under.outputs, COLUMNS), cells)](
                Values(delta, gradients=own.gradient, beside=values[k]), n, offsets[under.name],
                Sizes(size, under.outputs), KIND=kind_of(under, "", size), num_warps=8,
            )  # fmt: skip
    outs = values[1:]
    return Trace([*outs, pre], [*outs, pre], {})
