"""Pruning a block of cells: ask the schedule how much or whether, the operator which, and write the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from aecompress import rng
from aecompress.evolve import regrowth
from aecompress.evolve.evidence import incoming
from aecompress.evolve.operators import Evidence, Operator
from aecompress.evolve.population import Population
from aecompress.evolve.schedules import Curve, Schedule
from aecompress.evolve.select import hidden_layers, keep_units, keep_weights, per_unit
from aecompress.evolve.training import Training
from aecompress.nets.autoencoder import Autoencoder


@dataclass(frozen=True)
class Pruning:
    """The fixed numbers of pruning. Driven by ``curve`` to a target, or by ``chance``; one of the two is there."""

    operator: Operator
    curve: Curve | None
    targets: tuple[float, ...]
    """Share of weights and biases of both networks that are zero at the end, under ``curve``: of each cell."""
    chance: Schedule | None
    """s(t): a cell is pruned, in the published form, when s(t) > U."""
    granularity: Literal["weight", "unit"]
    lasting: bool
    """Whether pruned weights stay pruned; else a prune only sets values to 0."""
    per_generation: int
    """Prunes per generation, evenly over its steps, the last one after the last step."""
    regrowth: float
    """Share of the kept weights that is exchanged for pruned ones at the first prune; decays to 0."""
    regrowth_end: float
    """Progress of the run at which it is 0."""
    amount: float
    threshold: float
    guide_rows: int
    order: Literal["high", "low"]


def zeros_asked(net: Autoencoder, pruning: Pruning, cells: list[int], progress: float) -> list[int]:
    """Zeros that a target-driven schedule asks of each of ``cells`` at ``progress`` in [0, 1] of the run."""
    share = 0.0 if pruning.curve is None else pruning.curve(progress)
    return [round(pruning.targets[cell] * share * net.model_size) for cell in cells]


def fires(pruning: Pruning, seed: int, generation: int, cells: list[int]) -> list[bool]:
    """Which ``cells`` are pruned this generation: s(t) > U, drawn on the host."""
    assert pruning.chance is not None
    strength = pruning.chance(generation)
    draws = rng.host(seed, "prune", generation).random(max(cells) + 1)
    return [strength > draws[cell] for cell in cells]


def gather(
    net: Autoencoder,
    pruning: Pruning,
    training: Training,
    block: Population,
    cells: Tensor,
    rows: tuple[Tensor, Tensor],
    moment: int,
) -> Evidence:
    """What the operator may look at, for the cells of ``block``; ``rows`` are those to train on and guide rows."""
    return Evidence(
        net,
        block.weights,
        training.seed,
        block.generation,
        moment,
        cells,
        block.spread,
        rows[1],
        rows[0],
        training.loss(block.generation),
        pruning.amount,
        pruning.threshold,
        pruning.guide_rows,
        pruning.order,
    )


def prune_to(
    net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence, counts: list[int], exchanged: float = 0.0
) -> None:
    """Prune cell i to exactly ``counts[i]`` zeros (at granularity "unit": by the fewest whole units). In place.

    Args:
        exchanged: share of what is kept that first comes back from what was pruned; the prune makes room for it.
    """
    scores = pruning.operator.score(evidence)
    weight_level = pruning.operator.level == "weight"
    masks = block.masks
    if pruning.granularity == "unit":
        scores = per_unit(net, scores) if weight_level else scores
        if exchanged:
            hidden = sum(layer.outputs for layer, _ in hidden_layers(net))
            back = [round(exchanged * (1 - count / net.model_size) * hidden) for count in counts]
            masks, scores = regrowth.units(evidence, block, scores, back)
        keep = keep_units(net, scores, masks, counts)
    else:
        size = None if weight_level else block.weights[:, : net.model_size].abs()
        scores = scores if weight_level else incoming(net, scores)
        if exchanged:
            back = [round(exchanged * (net.model_size - count)) for count in counts]
            masks, scores = regrowth.weights(evidence, block, scores, back)
        keep = keep_weights(net, scores, masks, counts, ties=size)
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
