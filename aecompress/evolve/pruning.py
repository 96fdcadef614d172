"""Pruning a block of cells: ask the schedule how much or whether, the operator which, and write the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.training import Training
from aecompress.errors import RunError
from aecompress.evolve import regrowth
from aecompress.evolve.evidence import Evidence, incoming
from aecompress.evolve.operators import Operator
from aecompress.evolve.schedules import Curve, Schedule
from aecompress.evolve.select import keep_units, keep_weights, most_unit_zeros, most_zeros, per_unit, removed_units
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import Population


@dataclass(frozen=True)
class Pruning:
    """The fixed numbers of pruning. Driven by ``curves`` to targets, or by ``probability``; one of the two is there."""

    operator: Operator
    curves: tuple[Curve, ...]
    """Of each cell; empty when driven by ``probability``."""
    targets: tuple[float, ...]
    """Of each cell: the share of weights and biases of both networks that are zero at the end, under ``curves``."""
    probability: Schedule | None
    """s(t): a cell is pruned, in the published form, when s(t) > U."""
    granularity: Literal["weight", "unit"]
    persistent: bool
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


def target_zeros(net: Autoencoder, pruning: Pruning, cells: list[int], progress: float) -> list[int]:
    """Return the zeros that a target-driven schedule asks of each of ``cells`` at ``progress`` in [0, 1]."""
    return [round(pruning.targets[cell] * pruning.curves[cell](progress) * net.model_size) for cell in cells]


def triggered(pruning: Pruning, seed: int, generation: int, cells: list[int]) -> list[bool]:
    """Return which ``cells`` are pruned this generation: s(t) > U, drawn on the host."""
    assert pruning.probability is not None
    strength = pruning.probability(generation)
    draws = rng.host(seed, "prune", generation).random(max(cells) + 1)
    return [strength > draws[cell] for cell in cells]


def evidence_of(
    net: Autoencoder,
    pruning: Pruning,
    training: Training,
    block: Population,
    rows: tuple[RowSet, RowSet],
    prune_index: int,
) -> Evidence:
    """Return what the operator may look at, for the cells of ``block``.

    Args:
        rows: those to train on, and guide rows.
    """
    return Evidence(
        net=net,
        weights=block.weights,
        seed=training.seed,
        generation=block.generation,
        prune_index=prune_index,
        cells=block.cells,
        stats=block.stats,
        guide=rows[1],
        rows=rows[0],
        loss=training.loss(block.generation),
        amount=pruning.amount,
        threshold=pruning.threshold,
        guide_rows=pruning.guide_rows,
        squares=None if block.moments is None else block.moments[1],
        order=pruning.order,
    )


def prune_to(
    net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence, counts: list[int], exchanged: float = 0.0
) -> None:
    """Prune cell i to exactly ``counts[i]`` zeros (at granularity "unit": by the fewest whole units). In place.

    Args:
        exchanged: share of what is kept that is cut beyond that, for what has the largest gradient.
    """
    scores, masks = scored(net, pruning, block, evidence), block.masks
    weight_level, size = pruning.operator.level == "weight", net.model_size
    whole = pruning.granularity == "unit"
    most = most_unit_zeros(net) if whole else most_zeros(net)
    deeper = [min(count + round(exchanged * (size - count)), most) for count in counts]
    if whole:
        keep = keep_units(net, per_unit(net, scores) if weight_level else scores, masks, deeper)
    elif weight_level:
        keep = keep_weights(net, scores, masks, deeper)
    else:
        keep = keep_weights(net, incoming(net, scores), masks, deeper, ties=block.weights[:, :size].abs())
    if exchanged and whole:
        wanted, fresh = regrowth.units(evidence, masks)
        wanted = regrowth.standing(net, wanted, ~removed_units(net, keep))
        keep = keep_units(net, wanted, torch.ones_like(masks), counts)
        block.weights += fresh
    elif exchanged:
        wanted = regrowth.weights(evidence).masked_fill_(keep[:, :size], torch.inf)
        keep = keep_weights(net, wanted, torch.ones_like(masks), counts)
    if exchanged:
        regrowth.init_moments(net, block, keep & ~masks)
    cut(net, pruning, block, keep)


def scored(net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence) -> Tensor:
    """Return the operator's scores.

    Raises:
        RunError: they have not the shape of its level.
    """
    scores, level = pruning.operator.score(evidence), pruning.operator.level
    wanted = (block.weights.shape[0], net.model_size if level == "weight" else net.units)
    if tuple(scores.shape) != wanted:
        raise RunError(
            f"prune.operator: its score is {list(scores.shape)}, one per {level} would be {list(wanted)}; correct the "
            "package that brings it"
        )
    return scores


def prune_published(net: Autoencoder, pruning: Pruning, block: Population, evidence: Evidence) -> None:
    """Prune every cell in the operator's published form. In place."""
    assert pruning.operator.published is not None
    keep = block.masks.clone()
    keep[:, : net.model_size] &= pruning.operator.published(evidence)
    cut(net, pruning, block, keep)


def cut(net: Autoencoder, pruning: Pruning, block: Population, keep: Tensor) -> None:
    """Set everything outside ``keep`` ``[P, n]`` to 0, and note the capacity that the prune leaves (ALGORITHMS A7).

    Updates weights and capacity in place; persistent prunes also update masks and moments.
    """
    block.weights.mul_(keep)
    if pruning.persistent:
        block.masks.copy_(keep)
        for moments in block.moments or ():
            moments.mul_(keep)
    block.capacity.copy_((block.weights[:, : net.model_size] != 0).sum(1) / net.model_size)
