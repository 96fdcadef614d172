"""Steps of wide layers: torch's matrix products, and all between two of them in one loop over values that are hot."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from aecompress.engines.eager import Products
from aecompress.engines.numba.activations import (
    ACTIVATIONS,
    BY_INPUT,
    IDENTITY,
    LOSSES,
    RELU,
    Loss,
    activate,
    activation_backward,
    loss_gradient,
)
from aecompress.engines.numba.jit import as_float32, compiled, copy_row, store
from aecompress.engines.numba.updates import Rule, Slopes, StepSize, Weights, update_row
from aecompress.engines.training import Training
from aecompress.nets import autoencoder
from aecompress.nets.layers import Trace, product
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population


@compiled
def add_bias_and_activate(kind, pre, out, bias):
    """Add ``bias`` ``[1, w]`` to a layer's products ``pre`` ``[B, w]`` and activate.

    ``out`` is ``pre`` unless the activation is one of ``BY_INPUT``, whose backward pass needs ``pre``.
    """
    width = pre.shape[1]
    line, done = np.empty((1, width), np.float32), np.empty((1, width), np.float32)
    add, powers = np.empty(width, np.float32), np.empty(width, np.int32)
    for c in range(width):
        add[c] = as_float32(bias[0, c])
    for b in range(pre.shape[0]):
        x, sums_of = pre[b], line[0]
        if kind == IDENTITY:
            for c in range(width):
                store(x, c, as_float32(x[c]) + add[c])
        elif kind == RELU:
            for c in range(width):
                value = as_float32(x[c]) + add[c]
                kept = np.float32(0) if value < 0 else value
                store(x, c, kept)
        else:
            for c in range(width):
                sums_of[c] = as_float32(x[c]) + add[c]
            activate(kind, width, line, done, powers)
            y, values = out[b], done[0]
            if kind in BY_INPUT:
                for c in range(width):
                    store(x, c, sums_of[c])
            for c in range(width):
                store(y, c, values[c])


@compiled
def output_gradient(kind, loss, output):
    """End the forward pass of the last layer and start the backward one.

    Args:
        kind: its activation; loss: the fields of :class:`aecompress.engines.numba.activations.Loss`.
        output: its products ``[B, D]``, to which the bias is added; the target, float32 ``[B, D]``; the gradient before
            its activation ``[B, D]``, written; its bias ``[1, D]``; and the gradient of that ``[1, D]``, written.
            Plain tuples, because numba takes a microsecond for the type of each record that comes from Python.
    """
    pre, target, delta, bias, bias_gradient = output
    factor = Loss(loss[0], loss[1])
    width = pre.shape[1]
    line, done, goal, grad = [np.empty((1, width), np.float32) for _ in range(4)]
    add, total, powers = np.empty(width, np.float32), np.zeros(width, np.float32), np.empty(width, np.int32)
    for c in range(width):
        add[c] = as_float32(bias[0, c])
    for b in range(pre.shape[0]):
        x, d, sums_of, slope = pre[b], delta[b], line[0], grad[0]
        for c in range(width):
            sums_of[c] = as_float32(x[c]) + add[c]
        for c in range(width):
            store(x, c, sums_of[c])
        copy_row(target[b], goal[0])
        activate(kind, width, line, done, powers)
        loss_gradient(factor, kind, line, done, goal, grad)
        for c in range(width):
            store(d, c, slope[c])
            total[c] += slope[c]
    for c in range(width):
        store(bias_gradient[0], c, total[c])


@compiled
def hidden_gradient(kind, grad, pre, out, bias_gradient):
    """Go backward through a layer's activation: ``grad`` ``[B, w]`` in place.

    The gradient of the layer's bias goes into ``bias_gradient`` ``[1, w]``.
    """
    width = grad.shape[1]
    line, before, after = [np.empty((1, width), np.float32) for _ in range(3)]
    total = np.zeros(width, np.float32)
    for b in range(grad.shape[0]):
        g, x, y = grad[b], pre[b], out[b]
        if kind == IDENTITY:
            for c in range(width):
                total[c] += as_float32(g[c])
        elif kind == RELU:
            for c in range(width):
                slope = as_float32(g[c]) if as_float32(y[c]) > 0 else np.float32(0)
                store(g, c, slope)
                total[c] += slope
        else:
            behind, sums_of, values = line[0], before[0], after[0]
            for c in range(width):
                behind[c] = as_float32(g[c])
                sums_of[c] = as_float32(x[c])
                values[c] = as_float32(y[c])
            activation_backward(kind, line, before, after)
            for c in range(width):
                store(g, c, behind[c])
                total[c] += behind[c]
    for c in range(width):
        store(bias_gradient[0], c, total[c])


@compiled
def update_cells(block, slopes, rule, sizes, epsilon):
    """Mask and update the rows of all cells, in place.

    Args:
        block, slopes: :class:`aecompress.engines.numba.updates.Weights` and ``Slopes`` of the cells, ``[P, n]`` each.
        sizes: float32 ``[P]``, the cells' step sizes.
    """
    weights, masks, first, second = block
    gradient, copy = slopes
    for cell in range(weights.shape[0]):
        row = Weights(weights[cell], masks[cell], first[cell], second[cell])
        update_row(row, Slopes(gradient[cell], copy[cell]), rule, StepSize(sizes[cell], epsilon))


class Workspace(threading.local):
    """Memory for the values of a step, which a thread keeps for its next one."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return memory for ``shape`` in the number format of ``like``.

        What was taken last by that name is overwritten.
        """
        held, size = self._kept.get(name), math.prod(shape)
        if held is None or held.dtype != like.dtype or held.numel() < size:
            held = self._kept[name] = like.new_empty(size)
        return held[:size].view(shape)


WORKSPACE = Workspace()


def for_each_cell(kernel: Callable[..., None], *tensors: Tensor) -> None:
    """Run a kernel on every cell of ``tensors`` ``[P, ., w]``; bfloat16 ones are given as their bits.

    On this core alone: the library's threads still wait, busily, on the others for its next product.
    """
    arrays = [(t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy() for t in tensors]
    for cell in zip(*arrays, strict=True):
        kernel(*cell)


def gradient(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    noise: Tensor | None,
    noise_level: float,
    *,
    loss: str,
    code_l1: float = 0.0,
) -> Trace:
    """Compute what :func:`aecompress.nets.autoencoder.gradient` does, with all between two products in one loop.

    Returns:
        The forward pass, of whose last output, which the loss alone sees, only the values before the activation are
        there; overwritten by the thread's next call.
    """
    if net.log_variance is not None or code_l1:
        return autoencoder.gradient(net, weights, gradients, rows, noise, noise_level, loss=loss, code_l1=code_l1)
    inputs = rows if noise is None else torch.add(rows, noise, alpha=noise_level)
    inputs = inputs.to(weights[net.layers[0].name + ".weight"].dtype)
    trace = _forward(net, weights, inputs)
    delta = WORKSPACE.take("delta", tuple(inputs.shape), inputs)
    last = net.layers[-1]
    factor = (LOSSES.index(loss), np.float32(1 / (rows.shape[1] * rows.shape[2])))
    for_each_cell(
        lambda *cell: output_gradient(ACTIVATIONS.index(last.activation), factor, cell),
        trace.pre[-1], rows, delta, weights[last.name + ".bias"], gradients[last.name + ".bias"],
    )  # fmt: skip
    _backward(net, weights, gradients, inputs, trace, delta)
    return trace


def _forward(net: Autoencoder, weights: Mapping[str, Tensor], inputs: Tensor) -> Trace:
    """Run the forward pass up to the last layer's products."""
    trace = Trace([], [], {})
    for at, layer in enumerate(net.layers):
        below = trace.out[-1] if at else inputs
        memory = WORKSPACE.take(f"pre {at}", (*below.shape[:2], layer.outputs), below)
        pre = product(below, weights[layer.name + ".weight"], memory)
        trace.pre.append(pre)
        if at < len(net.layers) - 1:
            kind = ACTIVATIONS.index(layer.activation)
            out = WORKSPACE.take(f"out {at}", tuple(pre.shape), pre) if kind in BY_INPUT else pre
            for_each_cell(
                lambda *cell, kind=kind: add_bias_and_activate(kind, *cell), pre, out, weights[layer.name + ".bias"]
            )
        trace.out.append(out if at < len(net.layers) - 1 else pre)
    return trace


def _backward(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    inputs: Tensor,
    trace: Trace,
    delta: Tensor,
) -> None:
    """Run the backward pass from ``delta``, the gradient before the last activation; writes into ``gradients``."""
    for at in range(len(net.layers) - 1, -1, -1):
        name, below = net.layers[at].name, trace.out[at - 1] if at else inputs
        torch.bmm(below.transpose(1, 2), delta, out=gradients[name + ".weight"])
        if at:
            layer = net.layers[at - 1]
            memory = WORKSPACE.take(f"delta {at}", tuple(below.shape), below)
            delta = product(delta, weights[name + ".weight"].transpose(1, 2), memory)
            kind = ACTIVATIONS.index(layer.activation)
            for_each_cell(
                lambda *cell, kind=kind: hidden_gradient(kind, *cell),
                delta, trace.pre[at - 1], trace.out[at - 1], gradients[layer.name + ".bias"],
            )  # fmt: skip


def rule_of(training: Training, persistent: bool) -> Rule:
    """Return the update rule; Adam's shares are subtracted in double precision."""
    beta1, beta2 = training.betas
    return Rule(
        fresh=training.optimizer == "fresh-adam",
        persistent=persistent,
        rest1=np.float32(1 - beta1),
        beta2=np.float32(beta2),
        rest2=np.float32(1 - beta2),
    )


def masked_update(
    block: Population, own: Products, kept: Tensor | None, training: Training, size: float, epsilon: float
) -> None:
    """Compute what :func:`aecompress.engines.eager.masked_update` does, in one pass over the memory."""
    weights = block.weights.numpy()
    gradient, copy = (t.view(torch.int16 if own.half else t.dtype).numpy() for t in (own.gradient, own.weights))
    first, second = (weights, weights) if block.moments is None else (moment.numpy() for moment in block.moments)
    update_cells(
        Weights(weights, block.masks.numpy(), first, second),
        Slopes(gradient, copy),
        rule_of(training, kept is not None),
        block.learning_rate.numpy() * np.float32(size),
        np.float32(epsilon),
    )
