"""The methods of the suite: what is compared with ours, at equal passes and equal non-zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from quality import pca
from suite_obs import obs
from suite_stack import Member, Result, Rule, Stack, Task, begin, due, kept_of, per_layer, results, train
from torch import Tensor

from aecompress import rng
from aecompress.errors import RunError
from aecompress.evolve.schedules import cubic
from aecompress.evolve.select import keep_weights, lowest, lowest_of_parts
from aecompress.runs.job import prepare_in_memory
from aecompress.runs.memory import carry_out
from aecompress.spec.resolve import resolve

RATES = (2e-3, 6e-3, 1.5e-2, 3.2e-2)
ENDS = (0.3, 0.75)
"""Progress of the run at which pruning by magnitude ends."""
PRUNES = 100
"""Of a run."""
THREE_RATES = (4e-3, 1.2e-2, 3.6e-2)
MOVED, MOVED_UNTIL = 0.3, 0.75
"""Share of a layer's weights that is exchanged at first, and the progress of the run at which it is 0."""
ALL_BIASES = "all biases"
OUR_RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)
INFINITE = float("inf")
Value = TypeVar("Value")


class Method(NamedTuple):
    """How a method is tuned and carried out."""

    settings: Callable[[Task, float], list[tuple[float, float | str]]]
    """Of a sparsity: the rates and options among which validation rows choose."""
    carry_out: Callable[[Task, Sequence[Member]], list[Result]]
    dense: bool = True
    """Whether it is carried out without any sparsity too."""
    pruned: bool = True
    seeded: bool = True
    """Whether a seed makes a difference."""
    stacked: bool = True
    """Whether several models are trained at once."""


def constant(task: Task, members: Sequence[Member]) -> list[Result]:
    """Return the loss of the best constant: the mean training row, or under l1 the median one."""
    rows = task.dataset.train
    best = np.median(rows, 0) if task.metric == "l1" else rows.mean(0, dtype=np.float64)
    losses = []
    for split in (task.dataset.validation, task.dataset.test):
        difference = best - split
        losses.append(float(np.abs(difference).mean() if task.metric == "l1" else np.square(difference).mean()))
    return [Result(*losses, 0)]


def components(task: Task, members: Sequence[Member]) -> list[Result]:
    """Return the loss of a PCA with as many components as the code has values."""
    inputs, code = task.net.inputs, task.net.latent
    return [Result(INFINITE, pca(task.dataset, code, task.metric), (code + 1) * inputs)]


def magnitude(task: Task, stack: Stack, done: int, steps: int) -> bool:
    """Prune by global magnitude with the cubic schedule of Zhu and Gupta (2017)."""
    if not due(done, steps, PRUNES):
        return False
    shares = [one.sparsity * cubic(0, float(one.option))(done / steps) for one in stack.members]
    zeros = [round(share * task.net.model_size) for share in shares]
    stack.masks = keep_weights(task.net, stack.weights.abs(), stack.masks, zeros)
    return True


def compressed(done: int, steps: int) -> bool:
    """Return whether AC/DC is in a sparse phase.

    A tenth of the run is dense; then phases of a twentieth alternate, sparse first; the last dense one takes two, and
    the last sparse one what is left (Peste et al. 2021, section 4 and figure 2: 10, 5, 10 and 15 of 100 epochs).
    """
    phase = done * 20 // steps
    return phase > 16 or (2 <= phase <= 14 and phase % 2 == 0)


def ac_dc(task: Task, stack: Stack, done: int, steps: int) -> bool:
    """Alternate between all weights and the largest of them."""
    now = compressed(done, steps)
    if now == compressed(done - 1, steps):
        return False
    stack.masks = torch.ones_like(stack.masks)
    if now:
        zeros = [task.net.model_size - kept_of(task, one) for one in stack.members]
        stack.masks = keep_weights(task.net, stack.weights.abs(), stack.masks, zeros)
    return True


def fixed_biases(task: Task, stack: Stack) -> Tensor:
    """Return which parameters of each member are biases that all stay, bool ``[P, n]``."""
    found = torch.zeros_like(stack.masks)
    for name, view in task.net.layout.views(found).items():
        if name.endswith(".bias"):
            view[[one.option == ALL_BIASES for one in stack.members]] = True
    return found


def drawn(purpose: str, stack: Stack, number: int) -> Tensor:
    """Draw a number for each parameter of each member by its seed, ``[P, n]``."""
    cell, size = torch.zeros(1, dtype=torch.int64), stack.weights.shape[1]
    by_seed = {one.seed: rng.uniform(one.seed, purpose, number, cell, 0, (size,)) for one in stack.members}
    return torch.cat([by_seed[one.seed] for one in stack.members])


def begin_sparse(task: Task, stack: Stack) -> None:
    """Keep weights at random, so many in each layer as its size says; in place."""
    fixed = fixed_biases(task, stack)
    scores = torch.where(fixed, -1.0, drawn("suite-first", stack, 0))
    counts = []
    for one in stack.members:
        biases = sum(layer.outputs for layer in task.net.layers) if one.option == ALL_BIASES else 0
        own = per_layer(task.net, kept_of(task, one) - biases, biases == 0)
        counts.append(
            [count + (layer.outputs if biases else 0) for count, layer in zip(own, task.net.layers, strict=True)]
        )
    stack.masks = lowest_of_parts(scores, tuple(task.net.layer_sizes), counts)
    stack.cut()


def exchange(task: Task, stack: Stack, done: int, steps: int, scores: Tensor) -> None:
    """Exchange the smallest weights of each layer for those of the highest score, which begin at 0; in place.

    A share of the layer's weights that falls by a cosine from 0.3 to 0 (Evci et al. 2020, algorithm 1). What was just
    dropped may come back. Biases that all stay are none of them.
    """
    share = MOVED / 2 * (1 + math.cos(math.pi * done / (MOVED_UNTIL * steps)))
    fixed, parts = fixed_biases(task, stack), []
    sizes = task.net.layer_sizes
    for kept, stays, weights, score in zip(
        *(tensor.split(sizes, 1) for tensor in (stack.masks, fixed, stack.weights, scores)), strict=True
    ):
        most = torch.minimum((kept & ~stays).sum(1), (~kept).sum(1))
        counts = torch.minimum((share * (kept & ~stays).sum(1)).round(), most).int().tolist()
        drop = lowest(torch.where(kept & ~stays, weights.abs(), torch.inf), counts)
        grow = lowest(torch.where(~kept | drop, -score, torch.inf), counts)
        parts.append((kept & ~drop | grow, grow))
    stack.masks = torch.cat([masks for masks, _ in parts], 1)
    begun = torch.cat([grow for _, grow in parts], 1)
    for tensor in (stack.weights, *stack.moments):
        tensor.masked_fill_(begun, 0)


def rigl(task: Task, stack: Stack, done: int, steps: int) -> bool:
    """Exchange weights for those with the largest gradients (Evci et al. 2020)."""
    if not due(done, steps, PRUNES) or done > MOVED_UNTIL * steps:
        return False
    exchange(task, stack, done, steps, stack.gradients.abs())
    return True


def sparse_evolutionary(task: Task, stack: Stack, done: int, steps: int) -> bool:
    """Exchange weights for random ones (Mocanu et al. 2018), as often and as many as :func:`rigl`."""
    if not due(done, steps, PRUNES) or done > MOVED_UNTIL * steps:
        return False
    exchange(task, stack, done, steps, drawn("suite-growth", stack, done))
    return True


def stacked(rule: Rule, sparse: bool = False) -> Callable[[Task, Sequence[Member]], list[Result]]:
    """Return how a method is carried out that trains from dense or ``sparse`` first weights under a rule."""

    def carried_out(task: Task, members: Sequence[Member]) -> list[Result]:
        stack = begin(task, members)
        if sparse:
            begin_sparse(task, stack)
        train(task, stack, range(task.passes), rule)
        return results(task, stack)

    return carried_out


def last(running: Generator[Any, None, Value]) -> Value:
    """Return what a generator returns."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            value: Value = end.value
            return value


def ours(task: Task, members: Sequence[Member]) -> list[Result]:
    """Carry out the default command, one autoencoder, for each member; a rate of 0 leaves the default's."""
    found = []
    for one in members:
        flags = task.network | {"mode": "canonical", "prune.target_sparsity": one.sparsity, "seed": one.seed}
        if not one.sparsity:
            flags["prune.operator"] = "none"
        if one.rate:
            flags["train.learning_rate"] = one.rate
        requested = {path: ("benchmark", value) for path, value in flags.items()}
        job = prepare_in_memory(resolve(requested), task.given)
        try:
            model = last(carry_out(job)).model
        except RunError:
            found.append(Result(INFINITE, INFINITE, 0))
            continue
        losses = [model.about["metrics"][f"{split}_{task.metric}"] for split in ("validation", "test")]
        found.append(Result(*losses, sum(int(np.count_nonzero(tensor)) for tensor in model.tensors.values())))
    return found


def fixed(task: Task, sparsity: float) -> list[tuple[float, float | str]]:
    """Return the one setting of what is not tuned."""
    return [(0.0, "")]


def sparse_settings(task: Task, sparsity: float) -> list[tuple[float, float | str]]:
    """Return rates, each with biases pruned as weights are, and where as many weights are left, with all biases."""
    biases = sum(layer.outputs for layer in task.net.layers)
    enough = kept_of(task, Member(sparsity, 0.0, "", 0)) >= 2 * biases
    return [(rate, option) for rate in THREE_RATES for option in ("", ALL_BIASES)[: 1 + enough]]


METHODS: dict[str, Method] = {
    "constant": Method(fixed, constant, pruned=False, seeded=False),
    "pca": Method(fixed, components, pruned=False, seeded=False),
    "magnitude": Method(
        lambda task, sparsity: [(rate, end) for rate in RATES for end in (ENDS if sparsity else ENDS[:1])],
        stacked(magnitude),
    ),
    "rigl": Method(sparse_settings, stacked(rigl, sparse=True), dense=False),
    "set": Method(sparse_settings, stacked(sparse_evolutionary, sparse=True), dense=False),
    "ac/dc": Method(lambda task, sparsity: [(rate, "") for rate in THREE_RATES], stacked(ac_dc), dense=False),
    "obs": Method(
        lambda task, sparsity: [(rate, option) for rate in THREE_RATES for option in ("by size", "by magnitude")],
        obs,
        dense=False,
    ),
    "ours": Method(fixed, ours, stacked=False),
    "tuned": Method(lambda task, sparsity: [(rate, "") for rate in OUR_RATES], ours, stacked=False),
}
"""By name, in the order of the table's columns."""
