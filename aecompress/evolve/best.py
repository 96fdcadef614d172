"""The best generation of each cell, which it is given in the end: where rows are few, the last may know them by heart.

Only generations that the cell's zeros are complete in count, and only late ones: of many losses on few rows, the lowest
is low by luck. The first weights count too, where nothing is pruned.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from aecompress.evolve.base import Plan, Report, Rows
from aecompress.evolve.pruning import target_zeros
from aecompress.evolve.report import evaluate_blocks
from aecompress.nets.losses import finite_or_inf
from aecompress.polling import Poll
from aecompress.population.state import Best, Population
from aecompress.transfer import on_device

LATE = 0.75
"""Progress of the run from which generations count."""
DOUBT = 0.1
"""Over the root of the validation rows, the share by which another loss must be below that of the first weights."""


def keep_best(plan: Plan, last: Population, new: Population, figures: Report, rows: Rows, poll: Poll) -> Report:
    """Note of each cell its best generation so far; after the last one, give it that. ``new`` is updated in place.

    Losses are those on validation rows; without any, nothing is done.

    Args:
        figures: of ``new``.

    Returns:
        The figures, after the last generation those of what each cell then has.
    """
    best = last.best
    if best is None or rows.validation is rows.sample:
        new.best = best
        return figures
    if last.generation == 0 and any(counted := counts(plan, len(new), 0)):
        best = lower_of(best, last, loss_of(plan, last.weights, rows, poll) * (1 - doubt(rows)), counted)
    complete = new.generation == plan.training.generations
    if complete:
        figures = dataclasses.replace(figures, **{name: getattr(figures, name).clone() for name in FIGURES})
    whole = complete and rows.validation is not rows.validation_sample
    loss = loss_of(plan, new.weights, rows, poll) if whole else new.fitness
    counted = counts(plan, len(new), new.generation)
    new.best = lower_of(best, new, loss, counted) if any(counted) else best
    return _give(plan, new, ~(loss < best.fitness), figures, rows, poll) if complete else figures


def doubt(rows: Rows) -> float:
    """Return the share by which a loss must be below that of the first weights."""
    return float(DOUBT / len(rows.validation_sample) ** 0.5)


def loss_of(plan: Plan, weights: Tensor, rows: Rows, poll: Poll) -> Tensor:
    """Return the loss ``[P]`` of individuals ``[P, n]`` on the rows that every generation is evaluated on."""
    return finite_or_inf(evaluate_blocks(plan, weights, [rows.validation_sample], poll).losses[-1].clone())


FIGURES = ("train_loss", "validation_loss", "layer_zeros")
"""Those of a report that change with the weights."""


def counts(plan: Plan, size: int, generation: int) -> list[bool]:
    """Return of each of ``size`` cells whether the state after ``generation`` generations may be what it is given."""
    progress = generation / plan.training.generations
    if 0 < progress < LATE:
        return [False] * size
    if plan.pruning is None:
        return [True] * size
    cells = list(range(size))
    now, end = (target_zeros(plan.net, plan.pruning, cells, at) for at in (progress, 1.0))
    return [one == other for one, other in zip(now, end, strict=True)]


def lower_of(best: Best, population: Population, fitness: Tensor, counted: list[bool]) -> Best:
    """Return the better of two states for each cell, the earlier one where they are equal.

    Args:
        fitness: of ``population``, ``[P]``.
        counted: of each cell, whether the new state may be it.
    """
    wins = (fitness < best.fitness) & on_device(counted, fitness.device)
    rows = wins[:, None]
    return Best(
        weights=torch.where(rows, population.weights, best.weights),
        masks=torch.where(rows, population.masks, best.masks),
        fitness=torch.where(wins, fitness, best.fitness),
    )


def _give(plan: Plan, new: Population, wins: Tensor, figures: Report, rows: Rows, poll: Poll) -> Report:
    """Give the cells ``wins``, bool ``[P]``, their best state, where they have one; in place."""
    best = new.best
    assert best is not None
    wins = wins & best.fitness.isfinite()
    (train, validation), zeros, _ = evaluate_blocks(plan, best.weights, [rows.sample, rows.validation], poll)
    new.weights.copy_(torch.where(wins[:, None], best.weights, new.weights))
    new.masks.copy_(torch.where(wins[:, None], best.masks, new.masks))
    new.fitness.copy_(torch.where(wins, finite_or_inf(validation), new.fitness))
    for moments in new.moments or ():
        moments.mul_(new.masks)
    return dataclasses.replace(
        figures,
        train_loss=torch.where(wins, train, figures.train_loss),
        validation_loss=torch.where(wins, validation, figures.validation_loss),
        layer_zeros=torch.where(wins[:, None], zeros, figures.layer_zeros),
    )
