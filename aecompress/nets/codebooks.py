"""Weights that take few values: each matrix has a codebook, whose values are the means of the weights nearest to them.

Weight sharing is that of Han, Mao and Dally ("Deep Compression", ICLR 2016, section 3), the fit Lloyd's method (1982).
Zeros stay zeros and are in no codebook. Means are of whole numbers, so that no bit depends on the order of a sum, nor
on the device, its threads, or the block that an individual is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.nets.autoencoder import Autoencoder

LLOYD_STEPS = 40
REACH = 4.0
"""How many times as large as the largest weight others may become; beyond, they count as that large."""
UNIT = 1 << 40
"""Whole numbers in the reach of a codebook: sums over 2^22 weights fit 63 bits."""
LARGEST_BIAS = 65504.0
"""Of float16, in which biases are rounded."""


@dataclass(frozen=True)
class Kept:
    """The K weights of P individuals that are rounded, those in matrices of encoder and decoder, with C codebooks."""

    places: Tensor
    """int64 ``[K]``, in ``[P, n]`` taken as one row."""
    owners: Tensor
    """int64 ``[K]``: the codebook of each."""
    sizes: Tensor
    """int64 ``[C]``: values of each codebook."""
    reach: Tensor
    """float64 ``[C]``: a power of two that no weight of the codebook is above; where one is not finite, nor is it."""
    width: int
    """Values of the largest codebook."""

    def scaled(self, weights: Tensor) -> Tensor:
        """Return the weights among ``weights`` ``[P, n]`` as shares of their reach, float64 ``[K]``.

        Weights of a matrix with any that is not finite are 0, and so in the way of no others.
        """
        scaled: Tensor = weights.reshape(-1)[self.places].double() / self.reach[self.owners]
        return scaled.nan_to_num_(0.0).clamp_(-1, 1)


def kept_weights(net: Autoencoder, weights: Tensor, keep: Tensor, bits: Sequence[int]) -> Kept:
    """Return which of ``weights`` ``[P, n]`` are rounded: those of matrices that are in ``keep`` ``[P, n]``.

    Args:
        bits: of each layer; its codebook has 2^bits values.
    """
    matrix = torch.full((net.layout.size,), -1, device=weights.device)
    for number, layer in enumerate(net.layers):
        slot = net.layout.slots[layer.name + ".weight"]
        matrix[slot.offset : slot.offset + slot.size] = number
    places = (keep & (matrix >= 0)).view(-1).nonzero()[:, 0]
    individual, column = places // net.layout.size, places % net.layout.size
    owners = individual * len(bits) + matrix[column]
    largest = torch.zeros(len(weights) * len(bits), dtype=torch.float64, device=weights.device)
    largest.scatter_reduce_(0, owners, weights.reshape(-1)[places].double().abs(), "amax")
    reach = torch.exp2((largest * REACH).clamp_min(1e-30).log2().ceil())
    sizes = torch.tensor([1 << count for count in bits], device=weights.device).repeat(len(weights))
    return Kept(places, owners, sizes, reach, 1 << max(bits))


def assigned(kept: Kept, values: Tensor, scaled: Tensor) -> Tensor:
    """Return the nearest of the ``values`` ``[C, width]`` to each weight, int64 ``[K]``, in ``values`` as one row."""
    middles = (values[:, 1:] + values[:, :-1]) / 2
    last = torch.arange(kept.width - 1, device=values.device) >= kept.sizes[:, None] - 1
    first = torch.arange(len(values), device=values.device) * 4.0  # codebooks one after the other on one line
    edges = (middles.masked_fill_(last, 2.0) + first[:, None]).view(-1)
    found = torch.searchsorted(edges, scaled + first[kept.owners])
    code = (found - kept.owners * (kept.width - 1)).clamp_(0, kept.width - 1)
    return code + kept.owners * kept.width


def refitted(values: Tensor, scaled: Tensor, codes: Tensor) -> Tensor:
    """Return ``values`` ``[C, width]`` with each that stands for weights at their mean: a step of Lloyd's method."""
    numbers = (scaled * UNIT).round_().long()
    sums = torch.zeros(values.numel(), dtype=torch.int64, device=values.device)
    counts = torch.zeros_like(sums).index_add_(0, codes, torch.ones_like(codes))
    sums.index_add_(0, codes, numbers)
    means = sums.double() / (counts.clamp(min=1) * UNIT)
    return torch.where(counts > 0, means, values.view(-1)).view_as(values)


def ordered(kept: Kept, weights: Tensor) -> Tensor:
    """Return the order of the weights by codebook and value, int64 ``[K]``."""
    order = weights.reshape(-1)[kept.places].argsort(stable=True)
    return order[kept.owners[order].argsort(stable=True)]


def codebooks(kept: Kept, weights: Tensor) -> Tensor:
    """Return rising values with a small squared error on ``weights`` ``[P, n]``, as shares of the reach.

    Lloyd's method from their quantiles; float64 ``[C, width]``, of which a codebook has its first ``sizes``.
    """
    scaled = kept.scaled(weights)
    counts = torch.zeros_like(kept.sizes).index_add_(0, kept.owners, torch.ones_like(kept.owners))
    share = (torch.arange(kept.width, device=weights.device) + 0.5) / kept.sizes[:, None]
    rank = (share.double() * counts[:, None]).long().minimum(counts[:, None] - 1)
    at = (counts.cumsum(0) - counts)[:, None] + rank.clamp_min(0)
    values = scaled[ordered(kept, weights)][at.clamp(max=len(scaled) - 1)]
    for _ in range(LLOYD_STEPS):
        values = refitted(values, scaled, assigned(kept, values, scaled))
    return values


def put(kept: Kept, values: Tensor, codes: Tensor, into: Tensor) -> None:
    """Write what the codes ``[K]`` stand for into ``into`` ``[P, n]``, as float32 numbers, in place."""
    found = values.view(-1)[codes] * kept.reach[kept.owners]
    into.view(-1)[kept.places] = found.float().to(into.dtype)


def rounded(net: Autoencoder, weights: Tensor, bits: Sequence[int]) -> Tensor:
    """Return individuals ``[P, n]`` with their matrices rounded to codebooks and their biases to float16.

    A matrix with no more values than its codebook has stays as it is.
    """
    result = weights.clone()
    for layer in net.layers:
        slot = net.layout.slots[layer.name + ".bias"]
        bias = result[:, slot.offset : slot.offset + slot.size]
        bias.copy_(bias.clamp(-LARGEST_BIAS, LARGEST_BIAS).half())
    kept = kept_weights(net, weights, weights != 0, bits)
    if not len(kept.places):
        return result
    values = codebooks(kept, weights)
    put(kept, values, assigned(kept, values, kept.scaled(weights)), result)
    few = (distinct(kept, weights) <= kept.sizes)[kept.owners]
    same = kept.places[few]
    result.view(-1)[same] = weights.reshape(-1)[same]
    return result


def distinct(kept: Kept, weights: Tensor) -> Tensor:
    """Count the different values of the weights of each codebook, int64 ``[C]``."""
    order = ordered(kept, weights)
    value, owner = weights.reshape(-1)[kept.places][order], kept.owners[order]
    fresh = torch.ones_like(owner)
    fresh[1:] = ((value[1:] != value[:-1]) | (owner[1:] != owner[:-1])).long()
    return torch.zeros_like(kept.sizes).index_add_(0, owner, fresh)
