"""Pruning a block of cells: ask the schedule how much or whether, the operator which, and write the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from aecompress import rng
from aecompress.evolve.evidence import incoming
from aecompress.evolve.operators import Evidence, Operator
from aecompress.evolve.population import Population
from aecompress.evolve.schedules import Curve, Schedule
from aecompress.evolve.select import keep_units, keep_weights, per_unit
from aecompress.nets.autoencoder import Autoencoder


@dataclass(frozen=True)
class Pruning:
    """The fixed numbers of pruning. Driven by ``curve`` to a target, or by ``chance``; one of the two is there."""

    operator: Operator
    curve: Curve | None
    target: float
    """Share of weights and biases of both networks that are zero at the end, under ``curve``."""
    chance: Schedule | None
    """s(t): a cell is pruned, in the published form, when s(t) > U."""
    granularity: Literal["weight", "unit"]
    lasting: bool
    """Whether pruned weights stay pruned; else a prune only sets values to 0."""
    per_generation: int
    """Prunes per generation, evenly over its steps, the last one after the last step."""
    amount: float
    threshold: float
    guide_rows: int
    order: Literal["high", "low"]


def zeros_asked(net: Autoencoder, pruning: Pruning, progress: float) -> int:
    """Zeros per cell that a target-driven schedule asks for at ``progress`` in [0, 1] of the run."""
    return 0 if pruning.curve is None else round(pruning.target * pruning.curve(progress) * net.model_size)


def fires(pruning: Pruning, seed: int, generation: int, cells: list[int]) -> list[bool]:
    """Which ``cells`` are pruned this generation: s(t) > U, drawn on the host."""
    assert pruning.chance is not None
    strength = pruning.chance(generation)
    draws = rng.host(seed, "prune", generation).random(max(cells) + 1)
    return [strength > draws[cell] for cell in cells]


def gather(
    net: Autoencoder, pruning: Pruning, block: Population, cells: Tensor, guide: Tensor, seed: int, moment: int
) -> Evidence:
    """What the operator may look at, for the cells of ``block``."""
    return Evidence(
        net,
        block.weights,
        seed,
        block.generation,
        moment,
        cells,
        block.spread,
        guide,
        pruning.amount,
        pruning.threshold,
        pruning.guide_rows,
        pruning.order,
    )


def prune_to(net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence, count: int) -> None:
    """Prune every cell to exactly ``count`` zeros (at granularity "unit": by the fewest whole units). In place."""
    scores = pruning.operator.score(evidence)
    weight_level = pruning.operator.level == "weight"
    if pruning.granularity == "unit":
        by_unit = per_unit(net, scores) if weight_level else scores
        keep = keep_units(net, by_unit, block.masks, count)
    elif weight_level:
        keep = keep_weights(net, scores, block.masks, count)
    else:
        size = block.weights[:, : net.model_size].abs()
        keep = keep_weights(net, incoming(net, scores), block.masks, count, ties=size)
    cut(net, pruning, block, keep)


def prune_published(net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence) -> None:
    """Prune every cell in the operator's published form. In place."""
    assert pruning.operator.published is not None
    keep = block.masks.clone()
    keep[:, : net.model_size] &= pruning.operator.published(evidence)
    cut(net, pruning, block, keep)


def cut(net: Autoencoder, pruning: Pruning, block: Population, keep: Tensor) -> None:
    """Set everything outside ``keep`` ``[P, n]`` to 0, and note the capacity that the prune leaves (ALGORITHMS A7).

    Updates weights and capacity in place; lasting prunes also update masks and moments.
    """
    block.weights.mul_(keep)
    if pruning.lasting:
        block.masks.copy_(keep)
        for moments in block.moments or ():
            moments.mul_(keep)
    block.capacity.copy_((block.weights[:, : net.model_size] != 0).sum(1) / net.model_size)
