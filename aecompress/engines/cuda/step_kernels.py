"""The gradient of a training step with everything between its matrix products in few kernels.

The products are a library's. Between them stand: the batch gathered; bias and activation; at the output bias,
activation and loss; on the way back activation and the sum for the bias.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from aecompress.engines.cuda.pieces import activated, activation_backward, output_delta
from aecompress.engines.cuda.steps import Buffers, noise_of
from aecompress.nets.layers import Trace, product

STRETCH, COLUMNS, ROWS = 1024, 64, 16
"""Values of a block; columns of a block and rows of its turns, where it sums over the rows."""
ACTIVATIONS = ("identity", "leaky-relu", "relu", "sigmoid", "tanh")
"""Those whose gradient follows from what they give."""


@triton.jit
def gather_kernel(batch, inputs, noise, rows, order, counter, level, count, D, B: tl.constexpr, FULL: tl.constexpr,
                  NOISE: tl.constexpr, COPY: tl.constexpr, STRETCH: tl.constexpr):  # fmt: skip
    """Copy a stretch of one row of a cell's batch; into ``inputs`` with noise, or in their number format."""
    place = tl.program_id(0)
    cell, b = (place // B).to(tl.int64), place % B
    i = tl.program_id(1) * STRETCH + tl.arange(0, STRETCH)
    row = tl.load(order + cell * count + tl.load(counter) * FULL + b)
    x = tl.load(rows + row * D + i, mask=i < D, other=0.0)
    at = place.to(tl.int64) * D + i
    tl.store(batch + at, x, mask=i < D)
    if NOISE:
        x = x + level * tl.load(noise + at, mask=i < D, other=0.0)
    if COPY:
        tl.store(inputs + at, x.to(inputs.dtype.element_ty), mask=i < D)


@triton.jit(do_not_specialize=["n", "offset"])
def activation_kernel(values, biases, n, offset, size, M, NAME: tl.constexpr, STRETCH: tl.constexpr):
    """Add the bias to a stretch of a cell's values ``[B, M]`` and apply the activation, in place."""
    cell = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * STRETCH + tl.arange(0, STRETCH)
    inside = at < size
    bias = tl.load(biases + cell * n + offset + at % M, mask=inside, other=0.0).to(tl.float32)
    pre = tl.load(values + cell * size + at, mask=inside, other=0.0).to(tl.float32) + bias
    tl.store(values + cell * size + at, activated(pre, NAME).to(values.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["n", "offset"])
def output_kernel(values, pres, biases, gradients, batch, n, offset, scale, B, D, LOSS: tl.constexpr,
                  NAME: tl.constexpr, PRE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """Turn some columns of a cell's last products ``[B, D]`` into the gradient before the activation, in place.

    Writes the gradient of the bias, their sum, and with PRE what they were before the activation.
    """
    cell = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    kind = values.dtype.element_ty
    bias = tl.load(biases + cell * n + offset + i, mask=i < D, other=0.0).to(tl.float32)
    total = tl.zeros((COLUMNS,), tl.float32)
    for begin in range(0, B, ROWS):
        b = begin + tl.arange(0, ROWS)
        here = (b[:, None] < B) & (i[None, :] < D)
        at = (cell * B + b[:, None]) * D + i[None, :]
        pre = tl.load(values + at, mask=here, other=0.0).to(tl.float32) + bias[None, :]
        if PRE:
            tl.store(pres + at, pre.to(kind), mask=here)
        x = tl.load(batch + at, mask=here, other=0.0)
        delta = tl.where(here, output_delta(activated(pre, NAME), x, scale, LOSS, NAME), 0.0).to(kind)
        tl.store(values + at, delta, mask=here)
        total += tl.sum(delta.to(tl.float32), 0)
    tl.store(gradients + cell * n + offset + i, total.to(kind), mask=i < D)


@triton.jit(do_not_specialize=["n", "offset"])
def delta_kernel(grads, outs, gradients, n, offset, B, M, NAME: tl.constexpr, COLUMNS: tl.constexpr,
                 ROWS: tl.constexpr):  # fmt: skip
    """Turn some columns of a cell's gradient after an activation ``[B, M]`` into that before it, in place.

    Writes the gradient of the bias, their sum.
    """
    cell = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    kind = grads.dtype.element_ty
    total = tl.zeros((COLUMNS,), tl.float32)
    for begin in range(0, B, ROWS):
        b = begin + tl.arange(0, ROWS)
        here = (b[:, None] < B) & (i[None, :] < M)
        at = (cell * B + b[:, None]) * M + i[None, :]
        grad = tl.load(grads + at, mask=here, other=0.0).to(tl.float32)
        out = tl.load(outs + at, mask=here, other=0.0).to(tl.float32)
        delta = activation_backward(grad, out, NAME).to(kind)
        tl.store(grads + at, delta, mask=here)
        total += tl.sum(tl.where(here, delta.to(tl.float32), 0.0), 0)
    tl.store(gradients + cell * n + offset + i, total.to(kind), mask=i < M)


def gathered(buffers: Buffers, size: int) -> tuple[Tensor, Tensor]:
    """Return the batch at the counter, ``[P, B, D]``, and the input of the network, which may be the same."""
    rows, own, training = buffers.rows, buffers.own, buffers.training
    cells, inputs = len(buffers.block), rows.shape[1]
    batch = rows.new_empty((cells, size, inputs))
    noise = noise_of(buffers, batch)
    copied = noise is not None or own.half
    given = batch.new_empty(batch.shape, dtype=own.weights.dtype) if copied else batch
    gather_kernel[(cells * size, triton.cdiv(inputs, STRETCH))](
        batch, given, batch if noise is None else noise, rows, buffers.order, buffers.counter, training.noise_level,
        buffers.order.shape[1], inputs, B=size, FULL=training.batch, NOISE=noise is not None, COPY=copied,
        STRETCH=STRETCH, num_warps=4,
    )  # fmt: skip
    return batch, given


def fused_gradient(buffers: Buffers, loss: str, size: int) -> Trace:
    """Do the work of :func:`aecompress.engines.cuda.steps.torch_gradient`, to rounding.

    Of the plain and the denoising family, with layers of :data:`ACTIVATIONS`.
    """
    net, own, n = buffers.net, buffers.own, buffers.own.weights.shape[1]
    weights, gradients = net.layout.views(own.weights), net.layout.views(own.gradient)
    batch, below = gathered(buffers, size)
    cells, layers = len(buffers.block), net.layers
    values = [below]
    for layer in layers:
        values.append(product(values[-1], weights[layer.name + ".weight"]))  # [P, B, out]
        if layer is not layers[-1]:
            count = size * layer.outputs
            activation_kernel[(triton.cdiv(count, STRETCH), cells)](
                values[-1], own.weights, n, net.layout.slots[layer.name + ".bias"].offset, count, layer.outputs,
                NAME=layer.activation, STRETCH=STRETCH, num_warps=4,
            )  # fmt: skip
    delta, last = values.pop(), layers[-1]
    keeps = buffers.block.stats is not None
    pre = torch.empty_like(delta) if keeps else delta
    output_kernel[(triton.cdiv(last.outputs, COLUMNS), cells)](
        delta, pre, own.weights, own.gradient, batch, n, net.layout.slots[last.name + ".bias"].offset,
        1.0 / (size * last.outputs), size, last.outputs, LOSS=loss, NAME=last.activation, PRE=keeps, COLUMNS=COLUMNS,
        ROWS=ROWS, num_warps=4,
    )  # fmt: skip
    for k in range(len(layers) - 1, -1, -1):
        weight = layers[k].name + ".weight"
        torch.bmm(values[k].transpose(1, 2), delta, out=gradients[weight])
        if k:
            under, delta = layers[k - 1], product(delta, weights[weight].transpose(1, 2))
            delta_kernel[(triton.cdiv(under.outputs, COLUMNS), cells)](
                delta, values[k], own.gradient, n, net.layout.slots[under.name + ".bias"].offset, size, under.outputs,
                NAME=under.activation, COLUMNS=COLUMNS, ROWS=ROWS, num_warps=4,
            )  # fmt: skip
    outs = values[1:]
    return Trace([*outs, pre], [*outs, pre])
