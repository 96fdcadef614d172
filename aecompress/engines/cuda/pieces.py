"""What the kernels of whole passes and of narrow steps share: activations, the loss, the update rule, the inner layers.

A value that is written "three" is a tile of weights with its two moments, which are one 0 each where the rule has none.
NET is :class:`aecompress.engines.cuda.records.Net`: a chain of K layers. The first and the last are as long as the rows
and are treated in stretches of C inputs; the K - 2 layers between them, and all that they give, are tiles of W columns,
zero beside the layer. A batch is BP rows, zero beside the batch.
"""

from __future__ import annotations

import triton
import triton.language as tl

from aecompress.engines.cuda.records import Row, Tile


@triton.jit
def product(a, b, P: tl.constexpr, B: tl.constexpr):
    """Return ``a b``; with P "rows" by multiplying and adding the first B rows of ``a``."""
    if P == "rows":
        products = a[:, :, None] * b[None, :, :]
        out = tl.sum(tl.where(tl.arange(0, a.shape[0])[:, None, None] < B, products, 0.0), 1)
    elif P == "mixed":
        out = tl.dot(a, b, input_precision="ieee")
    else:
        out = tl.dot(a, b, input_precision=P)
    return out


@triton.jit
def product_over_rows(a, b, P: tl.constexpr, B: tl.constexpr):
    """Return ``a`` transposed times ``b``: a gradient, summed over the B rows of a batch.

    With P "rows" or "mixed" by multiplying and adding the rows, which may be fewer than a tile's of a matrix unit.
    """
    if P == "rows" or P == "mixed":
        products = a[:, :, None] * b[:, None, :]
        out = tl.sum(tl.where(tl.arange(0, a.shape[0])[:, None, None] < B, products, 0.0), 0)
    else:
        out = tl.dot(tl.trans(a), b, input_precision=P)
    return out


@triton.jit
def activated(pre, NAME: tl.constexpr):
    """Return a layer's values after its activation; not-a-number stays not-a-number."""
    if NAME == "relu":
        out = tl.where(pre < 0, 0.0, pre)
    elif NAME == "leaky-relu":
        out = tl.where(pre < 0, 0.01 * pre, pre)
    elif NAME == "sigmoid":
        out = 1.0 / (1.0 + tl.exp(-pre))
    elif NAME == "tanh":
        out = 1.0 - 2.0 / (tl.exp(2.0 * pre) + 1.0)
    elif NAME == "elu":
        out = tl.where(pre > 0, pre, tl.exp(pre) - 1.0)
    elif NAME == "selu":
        out = 1.0507009873554805 * tl.where(pre > 0, pre, 1.6732632423543772 * (tl.exp(pre) - 1.0))
    elif NAME == "relu6":
        out = tl.where(pre < 0, 0.0, tl.where(pre > 6, 6.0, pre))
    elif NAME == "softplus":
        out = tl.where(pre > 20, pre, tl.log(1.0 + tl.exp(pre)))
    elif NAME == "softsign":
        out = pre / (1.0 + tl.abs(pre))
    else:
        out = pre
    return out


@triton.jit
def activation_backward(grad, out, NAME: tl.constexpr):
    """Return the gradient before an activation from that after it."""
    if NAME == "relu":
        grad = tl.where(out <= 0, 0.0, grad)
    elif NAME == "leaky-relu":
        grad = tl.where(out <= 0, 0.01 * grad, grad)
    elif NAME == "sigmoid":
        grad = grad * ((1.0 - out) * out)
    elif NAME == "tanh":
        grad = grad * (1.0 - out * out)
    elif NAME == "elu":
        grad = tl.where(out > 0, grad, grad * (out + 1.0))
    elif NAME == "selu":
        grad = grad * tl.where(out > 0, 1.0507009873554805, out + 1.7580993408473766)
    elif NAME == "relu6":
        grad = tl.where((out <= 0) | (out >= 6), 0.0, grad)
    elif NAME == "softplus":
        grad = grad * (1.0 - tl.exp(-out))
    elif NAME == "softsign":
        grad = grad * (1.0 - tl.abs(out)) * (1.0 - tl.abs(out))
    return grad


@triton.jit
def output_delta(out, x, scale, LOSS: tl.constexpr, NAME: tl.constexpr):
    """Return the gradient of the loss before the output's activation."""
    if LOSS == "bce" and NAME == "sigmoid":
        delta = (out - x) * scale
    else:
        if LOSS == "l1":
            slope = tl.where(out > x, 1.0, 0.0) - tl.where(out < x, 1.0, 0.0)
        elif LOSS == "mse":
            slope = (out - x) * 2.0
        elif LOSS == "huber":
            slope = tl.minimum(tl.maximum(out - x, -1.0), 1.0)
        else:
            slope = (out - x) / tl.maximum(out * (1.0 - out), 1e-12)
        delta = activation_backward(slope * scale, out, NAME)
    return delta


@triton.jit
def layer_output(pre, inside, k: tl.constexpr, NET: tl.constexpr):
    """Return what layer ``k`` gives, and 0 beside it."""
    NAME: tl.constexpr = NET.acts[k]
    return tl.where(inside, activated(pre, NAME), 0.0)


@triton.jit
def layer_delta(grad, out, k: tl.constexpr, NET: tl.constexpr):
    """Return the gradient before the activation of layer ``k``."""
    NAME: tl.constexpr = NET.acts[k]
    return activation_backward(grad, out, NAME)


@triton.jit
def last_delta(pre, x, here, scale, NET: tl.constexpr):
    """Return the gradient of the loss before the activation of the last layer, 0 where there are no rows or inputs."""
    NAME: tl.constexpr = NET.acts[len(NET.acts) - 1]
    LOSS: tl.constexpr = NET.loss
    return tl.where(here, output_delta(activated(pre, NAME), x, scale, LOSS, NAME), 0.0)


@triton.jit
def row_of(cells, place):
    """Return the row of the cell at a place."""
    at = place.to(tl.int64) * cells.n
    return Row(cells.w + at, cells.m + at, cells.v + at, cells.masks + at)


@triton.jit
def rate_of(cells, place, data, step):
    """Return step size, with the learning rate of the cell at a place, and epsilon."""
    return tl.load(data.tables + 2 * step) * tl.load(cells.rates + place), tl.load(data.tables + 2 * step + 1)


@triton.jit
def batch_of(data, cell, step, b, i, NET: tl.constexpr):
    """Read inputs ``i`` of the cell's batch: ``[BP, C]``, which are there, and how many rows; no rows past the last."""
    left = tl.minimum(data.row_count - step * NET.batch, NET.batch)
    here = (b < left)[:, None] & (i[None, :] < NET.sizes[0])
    at = cell.to(tl.int64) * data.row_count + step * NET.batch + b
    row = tl.load(data.order + at, mask=b < left, other=0)
    return tl.load(data.rows + row[:, None] * NET.sizes[0] + i[None, :], mask=here, other=0.0), here, left


@triton.jit
def load_three(row, tile, ADAM: tl.constexpr):
    """Read a tile of weights and, with ADAM, its moments."""
    m, v = 0.0, 0.0
    w = tl.load(row.w + tile.at, mask=tile.inside, other=0.0)
    if ADAM:
        m = tl.load(row.m + tile.at, mask=tile.inside, other=0.0)
        v = tl.load(row.v + tile.at, mask=tile.inside, other=0.0)
    return w, m, v


@triton.jit
def store_three(row, three, tile, ADAM: tl.constexpr):
    """Write what :func:`load_three` reads."""
    tl.store(row.w + tile.at, three[0], mask=tile.inside)
    if ADAM:
        tl.store(row.m + tile.at, three[1], mask=tile.inside)
        tl.store(row.v + tile.at, three[2], mask=tile.inside)


@triton.jit
def quotient(a, b):
    """Return ``a / b`` of a positive ``b``, to 5e-7: two products take a third of the instructions of a division."""
    root = tl.rsqrt(b)
    return a * root * root


@triton.jit
def step_three(row, three, grad, tile, rate, RULE: tl.constexpr):
    """Return weights and moments after a step of the update rule; ``rate`` is step size and epsilon."""
    w, m, v = three
    if RULE.masked:
        grad = tl.where(tl.load(row.masks + tile.at, mask=tile.inside, other=0) != 0, grad, 0.0)
    if RULE.adam:
        m = m + (1 - RULE.beta1) * (grad - m)
        v = RULE.beta2 * v + (1 - RULE.beta2) * (grad * grad)
        w = w + -rate[0] * quotient(m, tl.sqrt(v) + rate[1])
    else:
        w = w + -rate[0] * quotient(grad, tl.abs(grad) + rate[1])
    return w, m, v


@triton.jit
def first_tile(i, c, NET: tl.constexpr):
    """Return the places of the weights from inputs ``i`` to units ``c`` of the first layer; one of the two is a row."""
    return Tile(NET.offsets[0] + i * NET.sizes[1] + c, (i < NET.sizes[0]) & (c < NET.sizes[1]))


@triton.jit
def last_tile(c, i, NET: tl.constexpr):
    """Return the places of the weights from units ``c`` to outputs ``i`` of the last layer."""
    K: tl.constexpr = len(NET.acts)
    inside = (c[:, None] < NET.sizes[K - 1]) & (i[None, :] < NET.sizes[0])
    return Tile(NET.offsets[2 * K - 2] + c[:, None] * NET.sizes[0] + i[None, :], inside)


@triton.jit
def last_bias(i, NET: tl.constexpr):
    """Return the places of the biases of outputs ``i``."""
    return Tile(NET.offsets[2 * len(NET.acts) - 1] + i, i < NET.sizes[0])


@triton.jit
def weight_tile(k: tl.constexpr, NET: tl.constexpr):
    """Return the places of the weight of layer ``k``, ``[W, W]``."""
    r, c = tl.arange(0, NET.width)[:, None], tl.arange(0, NET.width)[None, :]
    return Tile(NET.offsets[2 * k] + r * NET.sizes[k + 1] + c, (r < NET.sizes[k]) & (c < NET.sizes[k + 1]))


@triton.jit
def bias_tile(k: tl.constexpr, NET: tl.constexpr):
    """Return the places of the bias of layer ``k``, ``[W]``."""
    c = tl.arange(0, NET.width)
    return Tile(NET.offsets[2 * k + 1] + c, c < NET.sizes[k + 1])


@triton.jit
def load_middle(row, ADAM: tl.constexpr, NET: tl.constexpr):
    """Return the weights and the biases of the layers between the ends, and first the bias of the first layer."""
    weights, biases = (0.0,), (load_three(row, bias_tile(0, NET), ADAM),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        weights = weights + (load_three(row, weight_tile(k, NET), ADAM),)
        biases = biases + (load_three(row, bias_tile(k, NET), ADAM),)
    return weights, biases


@triton.jit
def store_middle(row, middle, ADAM: tl.constexpr, NET: tl.constexpr):
    """Write what :func:`load_middle` reads."""
    store_three(row, middle[1][0], bias_tile(0, NET), ADAM)
    for k in tl.static_range(1, len(NET.acts) - 1):
        store_three(row, middle[0][k], weight_tile(k, NET), ADAM)
        store_three(row, middle[1][k], bias_tile(k, NET), ADAM)


@triton.jit
def forward_middle(into, middle, NET: tl.constexpr):
    """Return what the first K - 1 layers give, from the products of the first, ``[BP, W]`` each."""
    P: tl.constexpr = NET.precision
    B: tl.constexpr = NET.batch
    c = tl.arange(0, NET.width)[None, :]
    outs = (layer_output(into + middle[1][0][0][None, :], c < NET.sizes[1], 0, NET),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        pre = product(outs[k - 1], middle[0][k][0], P, B) + middle[1][k][0][None, :]
        outs = outs + (layer_output(pre, c < NET.sizes[k + 1], k, NET),)
    return outs


@triton.jit
def backward_middle(back, outs, middle, NET: tl.constexpr):
    """Return the gradients before the activations of the first K - 1 layers, from that after the last of them."""
    K: tl.constexpr = len(NET.acts)
    P: tl.constexpr = NET.precision
    B: tl.constexpr = NET.batch
    delta = layer_delta(back, outs[K - 2], K - 2, NET)
    deltas = (delta,)
    for j in tl.static_range(0, K - 2):
        delta = product(delta, tl.trans(middle[0][K - 2 - j][0]), P, B)
        delta = layer_delta(delta, outs[K - 3 - j], K - 3 - j, NET)
        deltas = (delta,) + deltas
    return deltas


@triton.jit
def step_middle(row, middle, values, rate, NET: tl.constexpr):
    """Return the layers between the ends after a step of the update rule.

    ``values`` are what the first K - 1 layers give, and the gradients before their activations.
    """
    RULE: tl.constexpr = NET.rule
    P: tl.constexpr = NET.precision
    B: tl.constexpr = NET.batch
    outs, deltas = values
    weights = (0.0,)
    biases = (step_three(row, middle[1][0], tl.sum(deltas[0], 0), bias_tile(0, NET), rate, RULE),)
    for k in tl.static_range(1, len(NET.acts) - 1):
        grad = product_over_rows(outs[k - 1], deltas[k], P, B)
        weights = weights + (step_three(row, middle[0][k], grad, weight_tile(k, NET), rate, RULE),)
        biases = biases + (step_three(row, middle[1][k], tl.sum(deltas[k], 0), bias_tile(k, NET), rate, RULE),)
    return weights, biases


@triton.jit
def accumulate(cells, values, tile):
    """Add values and their squares to the statistics, in their number format."""
    exact = values.to(cells.total.dtype.element_ty)
    total = tl.load(cells.total + tile.at, mask=tile.inside, other=0.0)
    tl.store(cells.total + tile.at, total + exact, mask=tile.inside)
    square = tl.load(cells.square + tile.at, mask=tile.inside, other=0.0)
    tl.store(cells.square + tile.at, square + exact * exact, mask=tile.inside)


@triton.jit
def spot_of(place, b, NET: tl.constexpr):
    """Return where the statistics of batch positions ``b`` of the cell at a place begin, ``[BP, 1]``."""
    return place.to(tl.int64) * NET.stats_batch * NET.units + b[:, None] * NET.units


@triton.jit
def accumulate_last(cells, pre, place, b, tile, NET: tl.constexpr):
    """Take the outputs of a tile, before the activation, into the statistics of the cell at a place.

    ``tile`` is the outputs' numbers and where there are rows for them.
    """
    spot = spot_of(place, b, NET) + (NET.units - NET.sizes[0])
    accumulate(cells, pre, Tile(spot + tile.at[None, :], tile.inside))


@triton.jit
def accumulate_middle(cells, outs, place, b, left, NET: tl.constexpr):
    """Take what the first K - 1 layers give into the statistics of the cell at a place, and count the batch."""
    spot, c, unit = spot_of(place, b, NET), tl.arange(0, NET.width)[None, :], 0
    for k in tl.static_range(0, len(NET.acts) - 1):
        accumulate(cells, outs[k], Tile(spot + unit + c, (b[:, None] < left) & (c < NET.sizes[k + 1])))
        unit += NET.sizes[k + 1]
    seen = cells.seen + place * NET.stats_batch + b
    tl.store(seen, tl.load(seen, mask=b < left, other=0.0) + 1, mask=b < left)
