"""Budgets: of each cell, of bytes, of parameters, of the loss."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from aecompress import rng
from aecompress.deploy import graph, pack
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import chain_of, compact
from aecompress.errors import SpecError
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.layers.base import BoundLayer
from aecompress.layers.units import columns_of, rows_of
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.auto import FROM_DATA, can_regrow
from aecompress.plan.pruning import most_sparse
from aecompress.spec.fields import ExportSpec
from aecompress.spec.resolve import Resolved, override


def resolve_budgets(resolved: Resolved, net: Autoencoder) -> Resolved:
    """Give every cell its budget and the ring its rule, where they are "auto".

    Under dominance the first cell stays dense, as a reference and as an ancestor, the last but one has the target, and
    the last goes twice as far; between them the kept share falls by a constant factor.
    """
    spec, target = resolved.spec, float(resolved.spec.prune.target_sparsity)
    evolve = spec.evolve
    open_to = can_regrow(spec) and spec.prune.operator != "none" and target > 0 and evolve.order == "synchronous"
    spread = spec.mode == "coevo" and open_to and evolve.cells > 2 and evolve.budgets != "same"
    rule = evolve.rule if evolve.rule != "auto" else "dominance" if spread else "pair"
    budgets = evolve.budgets
    if budgets == "auto" and rule == "dominance":
        steps = evolve.cells - 2
        rise = [1 - (1 - target) ** (step / steps) for step in range(steps)]
        beyond = max(target, min(1 - (1 - target) / 2, most_sparse(spec, net)))
        budgets = (*(round(share, 6) for share in rise), target, beyond)
    elif budgets == "auto":
        budgets = "same"
    dense = isinstance(budgets, tuple) and 0.0 in budgets
    if spec.mode == "coevo" and spec.budget.max_loss_increase and not dense:
        raise SpecError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: needs a dense cell to compare with; leave "
            "evolve.budgets and evolve.rule out, with three cells or more, or choose --mode canonical"
        )
    if isinstance(budgets, tuple) and len(budgets) != evolve.cells:
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: gives {len(budgets)} for {evolve.cells} cells; give each one"
        )
    if isinstance(budgets, tuple) and max(budgets) < target:
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: none reaches prune.target_sparsity = {target}; give a cell that much, "
            f"or ask for --target-sparsity {max(budgets)}"
        )
    if isinstance(budgets, tuple) and rule != "dominance":
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: cells can differ under evolve.rule = 'dominance', not {rule!r}"
        )
    if rule == "dominance" and not open_to:
        raise SpecError(
            "evolve.rule = 'dominance': needs pruning to a target with masks that last, in synchronous order; "
            "choose evolve.rule = 'pair'"
        )
    if evolve.rule == "auto":
        resolved = override(resolved, "evolve.rule", rule, "from the budgets")
    if evolve.budgets == "auto":
        resolved = override(resolved, "evolve.budgets", budgets, "from the target")
    return resolved


def resolve_limit(resolved: Resolved, splits: Collection[str]) -> Resolved:
    """Say how sparse a model within the largest loss increase must be, where that is "auto".

    Raises:
        SpecError: there are no validation rows to keep the limit on.
    """
    spec, source = resolved.spec, resolved.sources["prune.target_sparsity"]
    if spec.budget.max_loss_increase and "validation" not in splits:
        raise SpecError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: is kept on validation rows, and there are "
            "none; give data.split a share for them, or --val"
        )
    if spec.budget.min_sparsity != "auto":
        return resolved
    asked = spec.budget.max_loss_increase and spec.prune.drive == "target" and source != FROM_DATA
    least = spec.prune.target_sparsity if asked else 0.0
    return override(resolved, "budget.min_sparsity", least, "the target asked for" if asked else "no target asked for")


METADATA_BYTES = 200
"""What a file's own description takes, at most."""


def within_budget(
    resolved: Resolved, net: Autoencoder, encoder: tuple[BoundLayer, ...], decoder: tuple[BoundLayer, ...]
) -> Resolved:
    """The spec with the target sparsity that its budget needs, unless a target was asked for.

    Raises:
        SpecError: no sparsity meets the budget.
    """
    spec, size = resolved.spec, net.model_size
    if not (spec.budget.max_params or spec.budget.max_bytes) or resolved.sources["prune.target_sparsity"] != FROM_DATA:
        return resolved
    needed = max(0.0, 1 - spec.budget.max_params / size) if spec.budget.max_params else 0.0
    if spec.budget.max_bytes:
        limit = spec.budget.max_bytes

        units = spec.prune.granularity == "unit"

        def fits(sparsity: float) -> bool:
            return bytes_at(sparsity, encoder, decoder, spec.export, units) <= limit

        most = (most_unit_zeros(net) if units else most_zeros(net)) / size
        if not fits(most):
            cure = "ask for --variants packed" if "packed" not in spec.export.variants else "allow more"
            raise SpecError(f"budget.max_bytes = {limit}: not even {most:.1%} zeros bring this network there; {cure}")
        low = needed
        if not fits(low):
            high = most
            for _ in range(12):
                middle = (low + high) / 2
                low, high = (low, middle) if fits(middle) else (middle, high)
            needed = high
    return override(resolved, "prune.target_sparsity", needed, "from the budget")


def bytes_at(
    sparsity: float, encoder: tuple[BoundLayer, ...], decoder: tuple[BoundLayer, ...], export: ExportSpec, units: bool
) -> int:
    """About the bytes of the smallest autoencoder file asked for, at some sparsity.

    Random weights with zeros spread evenly stand for the model: any other spread has less entropy.
    """
    tensors = likeness(sparsity, encoder, decoder, units)
    size = sum(tensor.size for tensor in tensors.values())
    low, high = 0.0, 1.0
    for _ in range(10 if units else 0):  # the share of units that comes to this share of weights
        share = (low + high) / 2
        tensors = likeness(share, encoder, decoder, units)
        zeros = size - sum(int(np.count_nonzero(tensor)) for tensor in tensors.values())
        low, high = (share, high) if zeros < sparsity * size else (low, share)
    return file_bytes(encoder + decoder, tensors, export)


def file_bytes(layers: tuple[BoundLayer, ...], tensors: Mapping[str, Floats], export: ExportSpec) -> int:
    """About the bytes of the smallest autoencoder file asked for; packed values chosen by their loss count as int8."""
    chain = compact(chain_of(layers, tensors))
    values = "int8" if export.values == "smallest" else export.values
    products = [graph.gemm(graph.plain)]
    if "fp16" in export.variants:
        products.append(graph.gemm(graph.half))
    if "packed" in export.variants:
        products.append(graph.gemm(pack.stored(pack.pack_all(chain, values))))
    files = [graph.build(chain, "autoencoder", export.opset, {}, product) for product in products]
    return min(len(file.SerializeToString()) for file in files) + METADATA_BYTES


def likeness(
    share: float, encoder: tuple[BoundLayer, ...], decoder: tuple[BoundLayer, ...], units: bool
) -> dict[str, Floats]:
    """Random tensors of the layers with a ``share`` of the weights zero, or of the hidden units without weights."""
    draws = rng.host(0, "budget-weights")
    ends = (encoder[-1].name, decoder[-1].name)
    before, tensors = np.ones(encoder[0].matrix.below, bool), {}
    for layer in encoder + decoder:
        gone = round(share * layer.units) if units and layer.name not in ends else 0
        after, shape = np.arange(layer.units) >= gone, (layer.outputs, layer.inputs)
        columns = columns_of(layer.matrix, after)
        kept = rows_of(layer.matrix, before) & columns if units else (draws.random(shape) >= share).T
        tensors[layer.name + ".weight"] = (draws.standard_normal(shape).T * kept).astype(np.float32)
        tensors[layer.name + ".bias"] = (draws.standard_normal(layer.outputs) * columns).astype(np.float32)
        before = after
    return tensors
