"""How sparse a network must and can be: for a number of parameters, a file size, a ring of cells."""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Mapping

import numpy as np

from aecompress import rng
from aecompress.deploy import graph
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import chain_of, compact
from aecompress.errors import SpecError
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.layers.base import BoundLayer
from aecompress.layers.units import columns_of, rows_of
from aecompress.nets.shapes import Autoencoder
from aecompress.registry import VARIANTS
from aecompress.spec.fields import ExportSpec, RunSpec

NONE = np.zeros(0, np.float32)
"""The bias of a layer that has none."""
METADATA_BYTES = 200
"""What a file's own description takes, at most, without names and scaling of its inputs."""


def most_sparse(spec: RunSpec, net: Autoencoder) -> float:
    """Return the largest target sparsity that leaves something of every layer, rounded down."""
    return math.floor(_highest_sparsity(spec, net) * 1e4) / 1e4


def _highest_sparsity(spec: RunSpec, net: Autoencoder) -> float:
    most = most_unit_zeros(net) if spec.prune.granularity == "unit" else most_zeros(net)
    return most / net.model_size


def rising_budgets(cells: int, target: float, most: float) -> tuple[float, ...]:
    """Return a target sparsity for each of three cells or more, rising past ``target`` but not past ``most``.

    The first cell stays dense, as a reference and as an ancestor, the last but one has the target, and the last goes
    twice as far; between them the kept share falls by a constant factor.
    """
    steps = cells - 2
    rising = [1 - (1 - target) ** (step / steps) for step in range(steps)]
    beyond = max(target, min(1 - (1 - target) / 2, most))
    return (*(round(share, 6) for share in rising), target, beyond)


def sparsity_within(spec: RunSpec, net: Autoencoder, described: int = 0) -> float:
    """Return the lowest target sparsity at which the model keeps to budget.max_params and budget.max_bytes.

    Args:
        described: bytes that names and scaling of the inputs take in a file.

    Raises:
        SpecError: none is high enough.
    """
    needed = max(0.0, 1 - spec.budget.max_params / net.model_size) if spec.budget.max_params else 0.0
    return _sparsity_for_bytes(spec, net, needed, described) if spec.budget.max_bytes else needed


def _sparsity_for_bytes(spec: RunSpec, net: Autoencoder, lowest: float, described: int) -> float:
    """Return the lowest sparsity, ``lowest`` or above, at which the smallest file has at most budget.max_bytes."""
    limit, units, bits = spec.budget.max_bytes, spec.prune.granularity == "unit", spec.train.bits

    def fits(sparsity: float, export: ExportSpec = spec.export) -> bool:
        return bytes_at(sparsity, net.encoder, net.decoder, export, units=units, bits=bits) + described <= limit

    high = _highest_sparsity(spec, net)
    if not fits(high):
        opset, values = spec.export.opset, spec.export.values
        smaller = (ExportSpec(opset=opset, values=values, variants=(name,)) for name in VARIANTS)
        cures = [f"choose --variants {export.variants[0]}" for export in smaller if fits(high, export)]
        cure = next(iter(cures), "allow more")
        raise SpecError(f"budget.max_bytes = {limit}: not met even at a sparsity of {high:.1%}; {cure}")
    if fits(lowest):
        return lowest
    low = lowest
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def bytes_at(
    sparsity: float,
    encoder: tuple[BoundLayer, ...],
    decoder: tuple[BoundLayer, ...],
    export: ExportSpec,
    *,
    units: bool,
    bits: int = 0,
) -> int:
    """Return about the bytes of the smallest autoencoder file that is exported, at some sparsity.

    Random weights with zeros spread evenly stand for the model: any other distribution has less entropy.

    Args:
        bits: of a weight, where training rounds them; else 0.
    """
    tensors = likeness(sparsity, encoder, decoder, units=units)
    size = sum(tensor.size for tensor in tensors.values())
    low, high = 0.0, 1.0
    for _ in range(10 if units else 0):  # the share of units that comes to this share of weights
        share = (low + high) / 2
        tensors = likeness(share, encoder, decoder, units=units)
        zeros = size - sum(int(np.count_nonzero(tensor)) for tensor in tensors.values())
        low, high = (share, high) if zeros < sparsity * size else (low, share)
    if bits:
        tensors = {name: in_few_values(tensor, bits) for name, tensor in tensors.items()}
    return file_bytes(encoder + decoder, tensors, export.opset, export.variants, export.values)


def in_few_values(tensor: Floats, bits: int) -> Floats:
    """Return a matrix in 2^bits values beside 0, a bias in those of float16."""
    if tensor.ndim < 2:
        return tensor.astype(np.float16).astype(np.float32)
    step = np.float32(8 / (1 << bits))  # nearly all draws lie within four deviations
    code = np.clip(np.floor(tensor / step), -(1 << bits) // 2, (1 << bits) // 2 - 1)
    result: Floats = np.where(tensor != 0, (code + np.float32(0.5)) * step, np.float32(0)).astype(np.float32)
    return result


def file_bytes(
    layers: tuple[BoundLayer, ...], tensors: Mapping[str, Floats], opset: int, variants: tuple[str, ...], values: str
) -> int:
    """Return about the bytes of the smallest autoencoder file, plain or of a variant."""
    chain = compact(chain_of(layers, tensors))
    smaller = [VARIANTS[name].smaller for name in variants if VARIANTS[name].smaller]
    products = [graph.gemm(graph.plain), *(pkgutil.resolve_name(name)(chain, values) for name in smaller)]
    files = [graph.build(chain, "autoencoder", opset, {}, product=product) for product in products]
    return min(len(file.SerializeToString()) for file in files) + METADATA_BYTES


def likeness(
    share: float, encoder: tuple[BoundLayer, ...], decoder: tuple[BoundLayer, ...], *, units: bool
) -> dict[str, Floats]:
    """Return random tensors of the layers: a ``share`` of the weights zero, or of the hidden units without weights."""
    draws = rng.host(0, "budget-weights")
    ends = [
        one.name
        for part in (encoder, decoder)
        for one in [layer for layer in part if layer.weighted and not layer.follows][-1:]
    ]
    below = np.ones(encoder[0].matrix.below, bool)
    tensors: dict[str, Floats] = {}
    for layer in encoder + decoder:
        if not layer.weighted:
            tensors |= {f"{layer.name}.weight": np.zeros((0, 0), np.float32), f"{layer.name}.bias": NONE}
            below = below if layer.matrix.passes else np.ones(layer.units, bool)
            continue
        removed = round(share * layer.units) if units and layer.name not in ends else 0
        kept = below if layer.follows else np.arange(layer.units) >= removed
        shape = layer.outputs, layer.inputs
        columns = columns_of(layer.matrix, kept)
        # Drawn a column after another: in the order of the matrix, the sparsity that a budget comes to would change.
        mask = rows_of(layer.matrix, below, kept) & columns if units else (draws.random(shape) >= share).T
        tensors[layer.name + ".weight"] = (draws.standard_normal(shape).T * mask).astype(np.float32)
        tensors[layer.name + ".bias"] = (draws.standard_normal(layer.biases) * columns[: layer.biases]).astype(
            np.float32
        )
        below = kept
    return tensors
