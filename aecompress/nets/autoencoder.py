"""Autoencoders: an encoder and a decoder of linear layers, in three families, with the gradient of a training step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from aecompress.nets.layers import (
    Trace,
    activation_of,
    backward,
    backward_layer,
    dense_write_gradient,
    forward,
)
from aecompress.nets.losses import mean_loss, output_delta
from aecompress.nets.penalty import add_reader_slope, code_slope
from aecompress.nets.places import as_given, as_rows
from aecompress.nets.rows import RowSet, chunks
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll, no_poll


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
    """Write the gradient of the training loss on one batch into ``gradients``.

    Plain and denoising: the mean over rows and inputs. Denoising adds ``noise_level`` x ``noise`` ``[P, B, D]`` to the
    input. Variational: sum over inputs of the loss plus the Kullback-Leibler divergence to N(0, 1), mean over rows
    (Kingma and Welling 2014, appendix B), with ``noise`` ``[P, B, latent]`` in the reparameterised sample.

    Args:
        weights: ``[P, in, out]`` and ``[P, 1, out]`` by name.
        gradients: same names and shapes; overwritten.
        rows: ``[P, B, D]``, in float32 or double; products are in the weights' format, the loss in that of the rows.
        code_l1: factor of the penalty on the code (:mod:`aecompress.nets.penalty`), beside the loss summed over inputs;
            both are divided by the inputs. Not of the variational family.

    Returns:
        The forward pass of encoder and decoder.
    """
    if net.log_variance is not None:
        assert noise is not None
        return _variational_gradient(net, weights, gradients, rows, noise, loss)
    inputs = rows if noise is None else torch.add(rows, noise, alpha=noise_level)
    inputs = inputs.to(gradients[net.encoder[0].name + ".weight"].dtype)
    trace = forward(net.layers, weights, inputs, record=True)
    scale = 1.0 / (rows.shape[1] * rows.shape[2])
    delta = _loss_delta(net, loss, trace, rows, scale)
    if not code_l1:
        backward(net.layers, weights, gradients, inputs, trace, delta, needed=False)
        return trace
    end = len(net.encoder) - 1
    code, factor = trace.out[end], code_l1 * scale
    slope = code_slope(net, weights, code, factor)
    backward(net.layers, weights, gradients, inputs, trace, delta, more=(end, slope), needed=False)
    add_reader_slope(net, weights, gradients, code, factor)
    return trace


def _loss_delta(net: Autoencoder, loss: str, trace: Trace, rows: Tensor, scale: float) -> Tensor:
    """Return the loss's gradient before the output activation; after half-precision products, in that of the rows."""
    last, pre, out = net.decoder[-1].activation, trace.pre[-1], trace.out[-1]
    rows = rows.reshape(out.shape)
    if pre.dtype == rows.dtype:
        return output_delta(loss, last, pre, out, rows, scale)
    full = pre.to(rows.dtype)
    return output_delta(loss, last, full, activation_of(last).apply(full), rows, scale).to(pre.dtype)


def _variational_gradient(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    noise: Tensor,
    loss: str,
) -> Trace:
    head = net.log_variance
    assert head is not None
    scale = 1.0 / rows.shape[1]
    inputs = rows.to(gradients[net.encoder[0].name + ".weight"].dtype)
    encoded = forward(net.encoder, weights, inputs, record=True)
    below = encoded.out[-2] if len(net.encoder) > 1 else as_given(net.encoder[0], inputs)
    mean = encoded.out[-1]  # [P, B, latent]
    log_variance = forward([head], weights, below).out[0]  # [P, B, latent]
    spread = noise.to(mean.dtype) * torch.exp(0.5 * log_variance)
    code = mean + spread
    decoded = forward(net.decoder, weights, code, record=True)

    delta = _loss_delta(net, loss, decoded, rows, scale)
    first = backward(net.decoder, weights, gradients, code, decoded, delta)
    at_latent = slope_of_code(net, weights, gradients, code, first)
    at_mean = at_latent + mean * scale
    at_head = 0.5 * (at_latent * spread + (torch.exp(log_variance) - 1) * scale)

    # The two heads stand on the same hidden layer, so their gradients meet there before going further down.
    dense_write_gradient(net.encoder[-1], gradients, below, at_mean)
    dense_write_gradient(head, gradients, below, at_head)
    if len(net.encoder) > 1:
        from_mean = torch.bmm(at_mean, weights[net.encoder[-1].name + ".weight"].transpose(1, 2))
        from_head = torch.bmm(at_head, weights[head.name + ".weight"].transpose(1, 2))
        top = len(net.encoder) - 2
        grad = from_mean.add_(from_head).view_as(encoded.pre[top])
        activation = activation_of(net.encoder[top].activation)
        delta = activation.backward(grad, encoded.pre[top], encoded.out[top])
        backward(net.encoder[:-1], weights, gradients, inputs, encoded, delta, needed=False)
    return Trace(encoded.pre + decoded.pre, encoded.out + decoded.out, {})


def slope_of_code(
    net: Autoencoder, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], code: Tensor, delta: Tensor
) -> Tensor:
    """Return the gradient at the ``code`` from ``delta``, that before the activation of the decoder's first layer.

    Where that layer is not dense, its own gradient is written again.
    """
    layer = net.decoder[0]
    if layer.kind == "dense":
        return torch.bmm(as_rows(delta), weights[layer.name + ".weight"].transpose(1, 2))
    found = backward_layer(layer, weights, gradients, code, delta, True)
    assert found is not None
    return found


def rows_together(population: int, width: int) -> int:
    """Return the rows that a loss is taken on at a time, of networks with so many values of a row at once."""
    return min(max((1 << 20) // (population * width), 64), 4096)


def widest(net: Autoencoder) -> int:
    """Return the most values of a row at once: those of the inputs, or of channels at their places."""
    return max(net.inputs, *(math.prod(layer.gives) for layer in net.layers if len(layer.gives) > 1), 1)


def reconstruction_loss(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    rows: RowSet,
    metric: str,
    poll: Poll = no_poll,
) -> Tensor:
    """Return the mean ``metric`` over all ``rows`` ``[N, D]`` of every individual: ``[P]``.

    Rows are taken in chunks of about a million values over the population, so that memory stays bounded; ``poll`` is
    called before every chunk and may raise to stop.
    """
    population = next(iter(weights.values())).shape[0]
    total = torch.zeros(population, dtype=rows.dtype, device=rows.device)
    for part in chunks(rows, rows_together(population, widest(net))):
        poll()
        out = forward(net.layers, weights, part.expand(population, -1, -1)).out[-1]
        total += mean_loss(metric, as_rows(out), part) * (part.shape[0] / rows.shape[0])
    return total


COUNTED_CELLS = 16
"""Cells whose zeros are counted at a time."""


def layer_zeros(net: Autoencoder, weights: Tensor, cells: int = COUNTED_CELLS) -> Tensor:
    """Count the zeros among each layer's weights and biases, of individuals ``[P, n]``: int32 ``[P, layers]``.

    Some ``cells`` at a time, so that memory stays bounded. Layers without any do not count.
    """
    found = []
    for group in torch.split(weights, cells):
        zero = (group[:, : net.model_size] == 0).view(torch.uint8)
        parts = torch.split(zero, net.layer_sizes, dim=1)
        found.append(torch.stack([part.sum(1, dtype=torch.int32) for part in parts], 1))
    return torch.cat(found)


def tensors_of(net: Autoencoder, row: Tensor) -> dict[str, Tensor]:
    """Return encoder and decoder of one individual, ``row`` ``[n]``, by name: weights ``[fan_in, columns]``."""
    views = net.layout.views(row[None].detach())
    state = {}
    for layer in net.layers:
        state[layer.name + ".weight"] = views[layer.name + ".weight"][0].contiguous()
        state[layer.name + ".bias"] = views[layer.name + ".bias"][0, 0].contiguous()
    return state
