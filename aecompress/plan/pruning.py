"""How a complete spec prunes."""

from __future__ import annotations

from aecompress.errors import SpecError
from aecompress.evolve.operators import operator_of
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import Curve, Shape, rise, schedule, toward_target
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.auto import pruning_end
from aecompress.plan.budget import most_sparse
from aecompress.plan.counts import budgets_of, generations_of, members_of
from aecompress.spec.fields import RunSpec
from aecompress.spec.rules import NO_PUBLISHED_FORM, sentence_of


def pruning_of(spec: RunSpec, net: Autoencoder) -> Pruning | None:
    """Return how a complete spec prunes; None where it does not.

    Raises:
        SpecError: the target would empty a layer, no probability can drive the operator, or the schedule never prunes.
    """
    prune = spec.prune
    if prune.operator == "none" or (prune.drive == "target" and prune.target_sparsity == 0):
        return None
    targets = budgets_of(spec)
    check_target(spec, net, max(targets))
    by_probability = prune.drive == "probability"
    operator = operator_of(prune.operator)
    if by_probability and operator.published is None:
        raise SpecError(sentence_of(NO_PUBLISHED_FORM, spec))
    return Pruning(
        operator=operator,
        curves=() if by_probability else curves_of(spec, targets),
        targets=targets,
        probability=schedule(prune.schedule, shape_of(spec)) if by_probability else None,
        granularity=prune.granularity,
        persistent=prune.masks == "fixed",
        per_generation=int(prune.per_generation),
        regrowth=float(prune.regrowth),
        regrowth_end=float(prune.regrowth_end),
        amount=prune.amount,
        threshold=prune.threshold,
        guide_rows=prune.guide_rows,
        order=prune.order,
    )


def check_target(spec: RunSpec, net: Autoencoder, target: float) -> None:
    """Refuse a target sparsity that would leave nothing of a layer.

    Raises:
        SpecError: with the highest one that does not.
    """
    most = most_sparse(spec, net)
    if target <= most:
        return
    units = spec.prune.granularity == "unit"
    why = "whole hidden units, of which every layer keeps one, do not reach it" if units else "would empty a layer"
    raise SpecError(
        f"prune.target_sparsity = {target}: {why} in this network of {net.model_size} parameters; choose at most {most}"
    )


def shape_of(spec: RunSpec) -> Shape:
    """Return the numbers that a complete spec shapes its schedule with; in a ring F is the last generation's index."""
    prune, generations = spec.prune, generations_of(spec)
    return Shape(
        probability=float(prune.probability),
        final=generations - 1 if spec.mode == "coevo" else generations,
        members=members_of(spec),
        exponent=prune.exponent,
        delay=prune.delay,
    )


def curves_of(spec: RunSpec, targets: tuple[float, ...]) -> tuple[Curve, ...]:
    """Return the rise of each cell to its target."""
    between = rise(spec.prune.schedule)
    if between is not None:
        return tuple(between(spec.prune.start, pruning_end(spec, target)) for target in targets)
    return (toward_target(spec.prune.schedule, shape_of(spec), generations_of(spec)),) * len(targets)
