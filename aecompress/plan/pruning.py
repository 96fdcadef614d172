"""How a complete spec prunes."""

from __future__ import annotations

import math

from aecompress.errors import SpecError
from aecompress.evolve.operators import OPERATORS, operator_of
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import Curve, Shape, cubic, schedule, toward_target
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.auto import pruning_end
from aecompress.plan.counts import budgets_of, generations_of, members_of
from aecompress.spec.fields import RunSpec


def most_sparse(spec: RunSpec, net: Autoencoder) -> float:
    """The largest target sparsity that leaves something of every layer, rounded down."""
    limit = most_unit_zeros(net) if spec.prune.granularity == "unit" else most_zeros(net)
    return math.floor(limit / net.model_size * 1e4) / 1e4


def pruning_of(spec: RunSpec, net: Autoencoder) -> Pruning | None:
    """How a complete spec prunes; None where it does not."""
    prune, generations = spec.prune, generations_of(spec)
    if prune.operator == "none" or (prune.drive == "target" and prune.target_sparsity == 0):
        return None
    targets = budgets_of(spec)
    target, most = max(targets), most_sparse(spec, net)
    units = prune.granularity == "unit"
    if target > most:
        why = "whole hidden units, of which every layer keeps one, do not reach it" if units else "would empty a layer"
        raise SpecError(
            f"prune.target_sparsity = {target}: {why} in this network of {net.model_size} parameters; "
            f"ask for at most {most}"
        )
    ring = spec.mode == "coevo"
    shape = Shape(
        float(prune.probability),
        generations - 1 if ring else generations,
        members_of(spec),
        prune.exponent,
        prune.delay,
    )
    operator, curves = operator_of(prune.operator), tuple[Curve, ...]()
    if prune.drive == "probability" and operator.published is None:
        able = ", ".join(name for name, each in OPERATORS.items() if each.published)
        raise SpecError(
            f"prune.operator = {prune.operator!r}: has no published form, so a probability cannot drive it; leave out "
            f"prune.probability (--probability) and prune to a target, or choose one of {able}"
        )
    if prune.drive == "probability":
        chance = schedule(prune.schedule, shape)
    elif prune.schedule == "cubic":
        curves = tuple(cubic(prune.start, pruning_end(spec, target)) for target in targets)
    else:
        curves = (toward_target(prune.schedule, shape, generations),) * len(targets)
    return Pruning(
        operator=operator,
        curves=curves,
        targets=targets,
        probability=chance if prune.drive == "probability" else None,
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
