"""The methods of the suite: what is compared with ours, at equal passes and equal non-zeros."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from quality import pca
from suite_stack import Member, Result, Rule, Stack, Task, begin, chunks, due, results, train

from aecompress.errors import RunError
from aecompress.evolve.schedules import cubic
from aecompress.evolve.select import keep_weights
from aecompress.runs.job import prepare_in_memory
from aecompress.runs.memory import carry_out
from aecompress.spec.resolve import resolve

RATES = (2e-3, 6e-3, 1.5e-2, 3.2e-2)
ENDS = (0.3, 0.75)
"""Progress of the run at which pruning by magnitude ends."""
PRUNES = 100
"""Of a run."""
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


def stacked(rule: Rule) -> Callable[[Task, Sequence[Member]], list[Result]]:
    """Return how a method is carried out that trains from dense first weights under a rule."""

    def carried_out(task: Task, members: Sequence[Member]) -> list[Result]:
        found: list[Result] = []
        for part in chunks(task, members):
            stack = begin(task, part)
            train(task, stack, range(task.passes), rule)
            found += results(task, stack)
        return found

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


METHODS: dict[str, Method] = {
    "constant": Method(fixed, constant, pruned=False, seeded=False),
    "pca": Method(fixed, components, pruned=False, seeded=False),
    "magnitude": Method(
        lambda task, sparsity: [(rate, end) for rate in RATES for end in (ENDS if sparsity else ENDS[:1])],
        stacked(magnitude),
    ),
    "ours": Method(fixed, ours),
    "tuned": Method(lambda task, sparsity: [(rate, "") for rate in OUR_RATES], ours),
}
"""By name, in the order of the table's columns."""
