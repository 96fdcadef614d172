"""Many networks of one shape trained as one stacked batch, in plain torch: what the rivals of the suite are trained by.

Networks are tiny, so a step costs the same for thirty as for one. All settings of a method, rates and windows and
sparsities and seeds, are therefore members of one stack, each with a learning rate and a mask of its own; a member has
the numbers that it has alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.data.base import Raw
from aecompress.data.dataset import Dataset
from aecompress.engines.workers import no_denormals
from aecompress.nets.autoencoder import gradient, reconstruction_loss
from aecompress.nets.layers import initial
from aecompress.nets.losses import finite_or_inf
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.training import warmup_cosine

BETAS = (0.9, 0.999)
"""Of Adam, as torch has them."""
EPSILON = 1e-8
PARAMETERS = 1 << 18
"""Most parameters of a stack, where it has more than one member: beyond the cache a stack is no faster."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every method is given of a set: the same rows, network, passes, batch and losses."""

    name: str
    given: Raw[Any]
    """The rows as they are, in three splits."""
    network: dict[str, Any]
    """The flags that say how large it is."""
    dataset: Dataset
    """The same rows, scaled."""
    net: Autoencoder
    passes: int
    batch: int
    loss: Callable[[int], str]
    """The training loss of a pass."""
    warmup: float
    """Share of the run in which the rate rises."""
    metric: str
    """The loss that is reported."""
    digest: str
    """Of all that results depend on; results with another one are of other rows or another network."""

    def rows(self, split: str) -> Tensor:
        """Return the scaled rows of a split, ``[N, D]``."""
        return torch.from_numpy(self.dataset.splits[split])


class Member(NamedTuple):
    """One network of a stack."""

    sparsity: float
    rate: float
    option: float | str
    """The other setting of a method."""
    seed: int


class Result(NamedTuple):
    """What became of a member."""

    validation: float
    test: float
    nonzeros: int


@dataclass
class Stack:
    """P networks in training; tensors are ``[P, n]``."""

    members: Sequence[Member]
    weights: Tensor
    masks: Tensor
    """bool, True = kept."""
    gradients: Tensor
    """Of the last step; also of weights that are pruned."""
    moments: tuple[Tensor, Tensor]

    def cut(self) -> None:
        """Set what is pruned, and its moments, to 0; in place."""
        for tensor in (self.weights, *self.moments):
            tensor.mul_(self.masks)


Rule = Callable[[Task, Stack, int, int], bool]
"""``(task, stack, steps done, steps of the run)``: replaces masks, and returns whether it did."""


def never(task: Task, stack: Stack, done: int, steps: int) -> bool:
    """Leave the masks as they are."""
    return False


def due(done: int, steps: int, times: int) -> bool:
    """Return whether one of ``times`` moments, evenly spaced over the run, has come with step ``done``."""
    return done * times // steps > (done - 1) * times // steps


def kept_of(task: Task, member: Member) -> int:
    """Return how many weights and biases a member's sparsity leaves."""
    return task.net.model_size - round(member.sparsity * task.net.model_size)


def per_layer(net: Autoencoder, kept: int, biases: bool = True) -> list[int]:
    """Return how many of ``kept`` weights each layer has, in proportion to inputs plus outputs, at least one.

    That is the density of Erdos and Renyi (Mocanu et al. 2018, equation 3); full layers leave theirs to the others
    (Evci et al. 2020, section 3).

    Args:
        biases: whether they count, as weights of one more input.
    """
    sizes = [layer.inputs * layer.outputs + biases * layer.outputs for layer in net.layers]
    parts = [layer.inputs + biases + layer.outputs for layer in net.layers]
    full: set[int] = set()
    while True:
        left = kept - sum(sizes[place] for place in full)
        scale = left / max(1, sum(part for place, part in enumerate(parts) if place not in full))
        over = {place for place, part in enumerate(parts) if scale * part >= sizes[place]} - full
        if not over:
            break
        full |= over
    wanted = [sizes[place] if place in full else scale * part for place, part in enumerate(parts)]
    counts = [max(1, int(value)) for value in wanted]
    by_rest = sorted(range(len(counts)), key=lambda place: counts[place] - wanted[place])
    while sum(counts) != kept:  # by the largest remainder; where layers of none got one, from the largest
        if sum(counts) < kept:
            place = next(place for place in by_rest if counts[place] < sizes[place])
            by_rest.append(by_rest.pop(by_rest.index(place)))
            counts[place] += 1
        else:
            counts[counts.index(max(counts))] -= 1
    return counts


def begin(task: Task, members: Sequence[Member], weights: Tensor | None = None) -> Stack:
    """Return a stack before its first step: with torch's first weights, which the seed draws, or with ``weights``."""
    if weights is None:
        cell = torch.zeros(1, dtype=torch.int64)
        drawn = {one.seed: initial(task.net.layers, task.net.layout, one.seed, cell) for one in members}
        weights = torch.cat([drawn[one.seed] for one in members])
    blank = torch.zeros_like(weights)
    moments = blank.clone(), blank.clone()
    return Stack(members, weights.clone(), torch.ones_like(weights, dtype=torch.bool), blank, moments)


def adam(stack: Stack, rates: Tensor, step: int) -> None:
    """Update the kept weights (Kingma and Ba 2015, algorithm 1, with the corrections in rate and epsilon); in place.

    Args:
        rates: ``[P, 1]``.
        step: from 1.
    """
    first, second = stack.moments
    own = stack.gradients * stack.masks
    first.lerp_(own, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(own, own, value=1 - BETAS[1])
    correction = math.sqrt(1 - BETAS[1] ** step)
    torch.sqrt(second, out=own).add_(EPSILON * correction)
    torch.div(first, own, out=own).mul_(rates * (correction / (1 - BETAS[0] ** step)))
    stack.weights.sub_(own)


def batches(task: Task, seeds: Sequence[int], number: int) -> Iterator[Tensor]:
    """Yield the batches of a pass, ``[S, B, D]``: those of seed s in the order that it draws for the pass."""
    rows, cell = task.rows("train"), torch.zeros(1, dtype=torch.int64)
    order = torch.cat([rng.permutation(seed, "batches", number, cell, 0, len(rows)) for seed in seeds])
    for start in range(0, len(rows), task.batch):
        yield rows[order[:, start : start + task.batch]]


def train(task: Task, stack: Stack, passes: range, rule: Rule = never) -> None:
    """Train a stack by Adam with warm-up and cosine, over the whole of ``passes``; in place.

    Args:
        passes: numbers of the passes, which key the order of rows.
        rule: is called after each step.
    """
    views, slopes = task.net.layout.views(stack.weights), task.net.layout.views(stack.gradients)
    seeds = sorted({one.seed for one in stack.members})
    which = torch.tensor([seeds.index(one.seed) for one in stack.members])
    rates = torch.tensor([one.rate for one in stack.members])[:, None]
    share, done = warmup_cosine(task.warmup), 0
    steps = len(passes) * -(-len(task.dataset.train) // task.batch)
    with no_denormals():
        for number in passes:
            for rows in batches(task, seeds, number):
                each = rows.expand(len(which), -1, -1) if len(seeds) == 1 else rows[which]
                gradient(task.net, views, slopes, each, None, 0.0, loss=task.loss(number))
                adam(stack, rates * share(done / steps), done + 1)
                done += 1
                if rule(task, stack, done, steps):
                    stack.cut()


def chunks(task: Task, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    """Yield members as stacks that fit the cache."""
    size = max(1, PARAMETERS // task.net.model_size)
    for start in range(0, len(members), size):
        yield members[start : start + size]


def results(task: Task, stack: Stack) -> list[Result]:
    """Return what became of each member.

    Raises:
        RuntimeError: one has another number of zeros than its sparsity says.
    """
    views = task.net.layout.views(stack.weights)
    losses = [
        finite_or_inf(reconstruction_loss(task.net, views, task.rows(split), task.metric)).tolist()
        for split in ("validation", "test")
    ]
    kept = stack.masks.sum(1).tolist()
    if kept != [kept_of(task, one) for one in stack.members]:
        raise RuntimeError(f"{task.name}: {kept} weights are kept for {stack.members}")
    return [Result(*found) for found in zip(*losses, kept, strict=True)]
