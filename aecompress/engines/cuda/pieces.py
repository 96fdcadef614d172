"""What the kernels of whole passes share: activations, the loss, the update rule, and the layers between the two ends.

A value that is written "three" is a tile of weights with its two moments, which are one 0 each where the rule has none.
RULE is (B1, B2, ADAM, MASKED). A cell's row is its weights, moments and masks: pointers to its first parameter.

NET is (SIZES, OFFSETS, W, K, P, *ACTS): a chain of K layers of sizes SIZES (K + 1 of them), OFFSETS of each layer's
weight and bias in a cell's row, activations ACTS. The first and the last layer are as long as the rows and are treated
in stretches of C inputs; the K - 2 layers between them, and all that they give, are tiles of W columns, zero beside the
layer. A batch is BP rows, zero beside the batch. P is how exact products are.
"""

from __future__ import annotations

import triton
import triton.language as tl


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
    NAME: tl.constexpr = NET[5 + k]
    return tl.where(inside, activated(pre, NAME), 0.0)


@triton.jit
def layer_delta(grad, out, k: tl.constexpr, NET: tl.constexpr):
    """Return the gradient before the activation of layer ``k``."""
    NAME: tl.constexpr = NET[5 + k]
    return activation_backward(grad, out, NAME)


@triton.jit
def last_delta(pre, x, here, scale, LOSS: tl.constexpr, NET: tl.constexpr):
    """Return the gradient of the loss before the activation of the last layer, 0 where there are no rows or inputs."""
    NAME: tl.constexpr = NET[4 + NET[3]]
    return tl.where(here, output_delta(activated(pre, NAME), x, scale, LOSS, NAME), 0.0)


@triton.jit
def load_three(row, at, inside, RULE: tl.constexpr):
    """Read a tile of weights and its moments."""
    m, v = 0.0, 0.0
    w = tl.load(row[0] + at, mask=inside, other=0.0)
    if RULE[2]:
        m = tl.load(row[1] + at, mask=inside, other=0.0)
        v = tl.load(row[2] + at, mask=inside, other=0.0)
    return w, m, v


@triton.jit
def store_three(row, three, at, inside, RULE: tl.constexpr):
    """Write what :func:`load_three` reads."""
    tl.store(row[0] + at, three[0], mask=inside)
    if RULE[2]:
        tl.store(row[1] + at, three[1], mask=inside)
        tl.store(row[2] + at, three[2], mask=inside)


@triton.jit
def step_three(row, three, grad, at, inside, rate, RULE: tl.constexpr):
    """Return weights and moments after a step of the update rule; ``rate`` is step size and epsilon."""
    w, m, v = three
    if RULE[3]:
        grad = tl.where(tl.load(row[3] + at, mask=inside, other=0) != 0, grad, 0.0)
    if RULE[2]:
        m = m + (1 - RULE[0]) * (grad - m)
        v = RULE[1] * v + (1 - RULE[1]) * (grad * grad)
        w = w - rate[0] * (m / (tl.sqrt(v) + rate[1]))
    else:
        w = w - rate[0] * (grad / (tl.abs(grad) + rate[1]))
    return w, m, v


@triton.jit
def weight_at(k: tl.constexpr, NET: tl.constexpr):
    """Return the places of the weight of layer ``k``, ``[W, W]``, and which are inside it."""
    r, c = tl.arange(0, NET[2])[:, None], tl.arange(0, NET[2])[None, :]
    return NET[1][2 * k] + r * NET[0][k + 1] + c, (r < NET[0][k]) & (c < NET[0][k + 1])


@triton.jit
def bias_at(k: tl.constexpr, NET: tl.constexpr):
    """Return the places of the bias of layer ``k``, ``[W]``, and which are inside it."""
    c = tl.arange(0, NET[2])
    return NET[1][2 * k + 1] + c, c < NET[0][k + 1]


@triton.jit
def load_middle(row, RULE: tl.constexpr, NET: tl.constexpr):
    """Return the weights and the biases of the layers between the ends, and first the bias of the first layer."""
    at, inside = bias_at(0, NET)
    weights, biases = (0.0,), (load_three(row, at, inside, RULE),)
    for k in tl.static_range(1, NET[3] - 1):
        at, inside = weight_at(k, NET)
        weights = weights + (load_three(row, at, inside, RULE),)
        at, inside = bias_at(k, NET)
        biases = biases + (load_three(row, at, inside, RULE),)
    return weights, biases


@triton.jit
def store_middle(row, middle, RULE: tl.constexpr, NET: tl.constexpr):
    """Write what :func:`load_middle` reads."""
    at, inside = bias_at(0, NET)
    store_three(row, middle[1][0], at, inside, RULE)
    for k in tl.static_range(1, NET[3] - 1):
        at, inside = weight_at(k, NET)
        store_three(row, middle[0][k], at, inside, RULE)
        at, inside = bias_at(k, NET)
        store_three(row, middle[1][k], at, inside, RULE)


@triton.jit
def forward_middle(into, middle, NET: tl.constexpr):
    """Return what the first K - 1 layers give, from the products of the first, ``[BP, W]`` each."""
    c = tl.arange(0, NET[2])[None, :]
    outs = (layer_output(into + middle[1][0][0][None, :], c < NET[0][1], 0, NET),)
    for k in tl.static_range(1, NET[3] - 1):
        pre = tl.dot(outs[k - 1], middle[0][k][0], input_precision=NET[4]) + middle[1][k][0][None, :]
        outs = outs + (layer_output(pre, c < NET[0][k + 1], k, NET),)
    return outs


@triton.jit
def backward_middle(back, outs, middle, NET: tl.constexpr):
    """Return the gradients before the activations of the first K - 1 layers, from that after the last of them."""
    K: tl.constexpr = NET[3]
    delta = layer_delta(back, outs[K - 2], K - 2, NET)
    deltas = (delta,)
    for j in tl.static_range(0, K - 2):
        delta = tl.dot(delta, tl.trans(middle[0][K - 2 - j][0]), input_precision=NET[4])
        delta = layer_delta(delta, outs[K - 3 - j], K - 3 - j, NET)
        deltas = (delta,) + deltas
    return deltas


@triton.jit
def step_middle(row, middle, outs, deltas, rate, RULE: tl.constexpr, NET: tl.constexpr):
    """Return the layers between the ends after a step of the update rule."""
    at, inside = bias_at(0, NET)
    weights = (0.0,)
    biases = (step_three(row, middle[1][0], tl.sum(deltas[0], 0), at, inside, rate, RULE),)
    for k in tl.static_range(1, NET[3] - 1):
        at, inside = weight_at(k, NET)
        grad = tl.dot(tl.trans(outs[k - 1]), deltas[k], input_precision=NET[4])
        weights = weights + (step_three(row, middle[0][k], grad, at, inside, rate, RULE),)
        at, inside = bias_at(k, NET)
        biases = biases + (step_three(row, middle[1][k], tl.sum(deltas[k], 0), at, inside, rate, RULE),)
    return weights, biases


@triton.jit
def accumulate(stats, values, at, inside):
    """Add values and their squares to the statistics, in their number format."""
    exact = values.to(stats[0].dtype.element_ty)
    tl.store(stats[0] + at, tl.load(stats[0] + at, mask=inside, other=0.0) + exact, mask=inside)
    tl.store(stats[1] + at, tl.load(stats[1] + at, mask=inside, other=0.0) + exact * exact, mask=inside)


@triton.jit
def accumulate_middle(stats, spot, outs, b, left, NET: tl.constexpr, U: tl.constexpr):
    """Take what the first K - 1 layers give into a cell's statistics, ``[BS, U]`` from ``spot`` on."""
    c, unit = tl.arange(0, NET[2])[None, :], 0
    for k in tl.static_range(0, NET[3] - 1):
        at, inside = spot + b[:, None] * U + unit + c, (b[:, None] < left) & (c < NET[0][k + 1])
        accumulate(stats, outs[k], at, inside)
        unit += NET[0][k + 1]


@triton.jit
def count_batch(seen, spot, b, left):
    """Count a batch of ``left`` rows."""
    tl.store(seen + spot + b, tl.load(seen + spot + b, mask=b < left, other=0.0) + 1, mask=b < left)
