"""One-shot pruning by the optimal brain surgeon, layer by layer, and fine-tuning: a method of the suite.

A layer is pruned so that its outputs before the activation stay what they were in the dense network, on the inputs that
the layers before it, already pruned, give it. That is a quadratic in its weights, of which the surgeon's formulas are
exact: the survivors are the least-squares refit, and w^2 / [H^-1] is what the removal of one of them costs (Hassibi and
Stork 1993; layer by layer: Frantar and Alistarh 2022, "Optimal Brain Compression", section 4). The bias is the weight
of an input that is always 1. Weights go in rounds, so that costs are taken again after a part of them went.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from suite_stack import Member, Result, Task, begin, kept_of, per_layer, results, train
from torch import Tensor

from aecompress.nets.layers import activation_of

ROWS = 4096
"""Training rows that a layer is refitted on, at most."""
DAMPING = 1e-2
"""Of the mean of the Hessian's diagonal, added to it; survivors are drawn to their dense values by as much."""
SHARE = 0.8
"""Of the weights that are left, which a round leaves at least."""
TOGETHER = 16
"""Output units whose matrices are inverted at once."""
DENSE: dict[tuple[str, float, int], Tensor] = {}
"""Networks after the dense half, by task, rate and seed: several members prune the same one."""


def refit(hessian: Tensor, target: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best weights under masks, and what the removal of each more would cost; both are 0 where it is gone.

    Args:
        hessian: ``[d, d]``.
        target: ``[d, out]``; without masks the best weights are ``hessian^-1 target``.
        masks: bool ``[d, out]``.
    """
    weights, costs = torch.zeros_like(target), torch.zeros_like(target)
    counts = masks.sum(0)
    for units in counts.argsort().split(TOGETHER):
        most = int(counts[units].max())
        if not most:
            continue
        places = (~masks[:, units]).T.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]  # [U, k]: kept ones first
        valid = torch.arange(most) < counts[units][:, None]
        part = hessian[places[:, :, None], places[:, None, :]] * (valid[:, :, None] & valid[:, None, :])
        inverse = torch.linalg.inv(part + torch.diag_embed((~valid).to(part)))
        found = (inverse @ (target[places, units[:, None]] * valid)[:, :, None])[:, :, 0]
        weights[places, units[:, None]] = found * valid
        costs[places, units[:, None]] = found.square() / inverse.diagonal(dim1=1, dim2=2) * valid
    return weights, costs


def pruned_layer(inputs: Tensor, outputs: Tensor, weights: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Prune a layer to exactly ``kept`` weights; return mask and weights, ``[d, out]``.

    Args:
        inputs: ``[N, d]``.
        outputs: ``[N, out]``, which it shall give.
        weights: ``[d, out]``, of the dense layer.
    """
    hessian = inputs.T @ inputs / len(inputs)
    damping = DAMPING * float(hessian.diagonal().mean())
    hessian.diagonal().add_(damping)
    target = inputs.T @ outputs / len(inputs) + damping * weights
    masks, left = torch.ones_like(weights, dtype=torch.bool), weights.numel()
    dense = torch.linalg.inv(hessian)
    found = dense @ target
    costs = found.square() / dense.diagonal()[:, None]
    while left > kept:
        left = max(kept, int(SHARE * left))
        order = costs.masked_fill(~masks, -1).flatten().argsort(descending=True, stable=True)
        masks = torch.zeros_like(masks).flatten().index_fill_(0, order[:left], True).view_as(masks)
        found, costs = refit(hessian, target, masks)
    return masks, found


def surgeon(task: Task, weights: Tensor, kept: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Prune a dense network ``[n]`` to so many weights in each layer; return mask and weights, ``[n]`` each."""
    views = task.net.layout.views(weights[None].double())
    dense = pruned = task.rows("train")[:ROWS].double()
    masks, parts = [], []
    for layer, count in zip(task.net.layers, kept, strict=True):
        matrix = torch.cat([views[f"{layer.name}.weight"][0], views[f"{layer.name}.bias"][0]])
        wanted = with_one(dense) @ matrix
        mask, found = pruned_layer(with_one(pruned), wanted, matrix, count)
        activation = activation_of(layer.activation)
        pruned, dense = activation.apply(with_one(pruned) @ found), activation.apply(wanted)
        masks.append(mask.flatten())
        parts.append(found.flatten())
    return torch.cat(masks), torch.cat(parts).float()


def with_one(values: Tensor) -> Tensor:
    """Return ``[N, d + 1]``: values and the input of the bias."""
    return torch.cat([values, torch.ones_like(values[:, :1])], 1)


def counts_of(task: Task, member: Member, weights: Tensor) -> list[int]:
    """Return how many weights each layer keeps: as by global magnitude, or by its size."""
    kept = kept_of(task, member)
    if member.option == "by size":
        return per_layer(task.net, kept)
    place = weights.abs().argsort(descending=True)[:kept]
    counts = [
        int(part.sum())
        for part in torch.split(torch.zeros_like(weights).index_fill_(0, place, 1), task.net.layer_sizes)
    ]
    while 0 in counts:  # no layer is emptied
        counts[counts.index(0)] += 1
        counts[counts.index(max(counts))] -= 1
    return counts


def dense_half(task: Task, members: Sequence[Member]) -> Tensor:
    """Return the weights of each member after the dense half of its run, ``[P, n]``; those that are there are kept."""
    keys = [(task.digest, one.rate, one.seed) for one in members]
    missing = [
        Member(0.0, rate, "", seed) for _, rate, seed in dict.fromkeys(keys) if (task.digest, rate, seed) not in DENSE
    ]
    if missing:
        stack = begin(task, missing)
        train(task, stack, range(task.passes // 2))
        DENSE.update({(task.digest, one.rate, one.seed): own for one, own in zip(missing, stack.weights, strict=True)})
    return torch.stack([DENSE[key] for key in keys])


def obs(task: Task, members: Sequence[Member]) -> list[Result]:
    """Train dense for half of the passes, prune, and fine-tune for the other half, with a warm-up and cosine each."""
    cut = [
        surgeon(task, own, counts_of(task, one, own))
        for one, own in zip(members, dense_half(task, members), strict=True)
    ]
    stack = begin(task, members, torch.stack([weights for _, weights in cut]))
    stack.masks = torch.stack([mask for mask, _ in cut])
    stack.cut()
    train(task, stack, range(task.passes // 2, task.passes))
    return results(task, stack)
