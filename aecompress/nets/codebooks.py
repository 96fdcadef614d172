"""Weights that take few values: each matrix has a codebook, and every weight that is not zero takes its nearest value.

Weight sharing is that of Han, Mao and Dally ("Deep Compression", ICLR 2016, section 3), the fit Lloyd's method (1982).
Means are of whole numbers, so that no bit depends on the order of a sum, nor on the device, its threads, or the block
that an individual is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.nets.shapes import Autoencoder

LLOYD_STEPS = 40
UNIT = 1 << 40
"""Whole numbers in the reach of a codebook: sums over 2^23 weights fit 63 bits."""
BIAS_VALUES = 64
"""Values of the biases of a large layer."""
LARGE_LAYER = 256
"""Units from which on a layer's biases take few values; those of others are rounded to float16."""
LARGEST_HALF = 65504.0
"""Of float16."""


@dataclass(frozen=True)
class Kept:
    """The K parameters of P individuals that are rounded, each to the nearest value of one of C codebooks."""

    places: Tensor
    """int64 ``[K]``, in ``[P, n]`` taken as one row."""
    owners: Tensor
    """int64 ``[K]``: the codebook of each, individual after individual."""
    sizes: Tensor
    """int64 ``[C]``: values of each codebook."""
    width: int
    """Values of the largest codebook."""

    def of(self, values: Tensor) -> Tensor:
        """Return the parameters among ``values`` ``[P, n]``, ``[K]``."""
        found: Tensor = values.reshape(-1)[self.places]
        return found


def kept_tensors(net: Autoencoder, keep: Tensor, values: Sequence[int], kind: str = "weight") -> Kept:
    """Return which parameters are rounded: those of a kind, "weight" or "bias", that are in ``keep`` ``[P, n]``.

    Args:
        values: of each layer; 0 leaves it as it is.
    """
    tensor = torch.full((net.layout.size,), -1, device=keep.device)
    for number, (layer, count) in enumerate(zip(net.layers, values, strict=True)):
        slot = net.layout.slots[f"{layer.name}.{kind}"]
        tensor[slot.offset : slot.offset + slot.size] = number if count else -1
    places = (keep & (tensor >= 0)).view(-1).nonzero()[:, 0]
    owners = places // net.layout.size * len(values) + tensor[places % net.layout.size]
    sizes = torch.tensor(values, device=keep.device).repeat(len(keep))
    return Kept(places, owners, sizes, max(values))


def reach_of(kept: Kept, found: Tensor) -> Tensor:
    """Return a power of two above every parameter ``[K]`` of a codebook, float64 ``[C]``; of one not finite, not so."""
    largest = torch.zeros(len(kept.sizes), dtype=torch.float64, device=found.device)
    largest.scatter_reduce_(0, kept.owners, found.double().abs(), "amax")
    return torch.exp2(largest.clamp_min(1e-30).log2().floor() + 1)


def nearest(kept: Kept, levels: Tensor, found: Tensor) -> Tensor:
    """Return the nearest of the ``levels`` ``[C, width]`` to each parameter ``[K]``, int64, as a place in one row."""
    levels = levels.double()
    largest = levels.abs().amax(1).nan_to_num(1.0).clamp(1e-30, 1e300)
    scaled = (found.double() / largest[kept.owners]).nan_to_num(0.0).clamp(-1, 1)
    middles = ((levels[:, 1:] + levels[:, :-1]) / 2 / largest[:, None]).nan_to_num(2.0)
    unused = torch.arange(kept.width - 1, device=found.device) >= kept.sizes[:, None] - 1
    first = torch.arange(len(levels), device=found.device) * 4.0  # codebooks one after the other on one line
    edges = (middles.masked_fill_(unused, 2.0) + first[:, None]).view(-1)
    code = torch.searchsorted(edges, scaled + first[kept.owners]) - kept.owners * (kept.width - 1)
    return code.clamp_(0, kept.width - 1) + kept.owners * kept.width


def refitted(levels: Tensor, scaled: Tensor, codes: Tensor) -> Tensor:
    """Return ``levels`` ``[C, width]`` with each at the mean of what it stands for: a step of Lloyd's method.

    Args:
        scaled: parameters as shares of their reach, float64 ``[K]``.
        codes: int64 ``[K]``, of :func:`nearest`.
    """
    sums = torch.zeros(levels.numel(), dtype=torch.int64, device=levels.device)
    counts = torch.zeros_like(sums).index_add_(0, codes, torch.ones_like(codes))
    sums.index_add_(0, codes, (scaled * UNIT).round_().long())
    means = sums.double() / (counts.clamp(min=1) * UNIT)
    return torch.where(counts > 0, means, levels.view(-1)).view_as(levels)


def codebooks(kept: Kept, found: Tensor) -> Tensor:
    """Return rising levels with a small squared error on the parameters ``[K]``: Lloyd's method from their quantiles.

    float32 ``[C, width]``, of which a codebook has its first ``sizes``; 0 where it stands for nothing. As shares of the
    reach, they are numbers of float16, which a file stores in half the bytes.
    """
    if not len(found):
        return torch.zeros((len(kept.sizes), kept.width), device=found.device)
    reach = reach_of(kept, found)
    scaled = (found.double() / reach[kept.owners]).nan_to_num(0.0).clamp(-1, 1)
    counts = torch.zeros_like(kept.sizes).index_add_(0, kept.owners, torch.ones_like(kept.owners))
    share = (torch.arange(kept.width, device=found.device) + 0.5) / kept.sizes[:, None]
    rank = (share.double() * counts[:, None]).long().minimum(counts[:, None] - 1).clamp_min(0)
    at = (counts.cumsum(0) - counts)[:, None] + rank
    levels = scaled[ordered(kept, scaled)][at.clamp(max=len(scaled) - 1)]
    for _ in range(LLOYD_STEPS):
        levels = refitted(levels, scaled, nearest(kept, levels, scaled))
    levels = torch.where(counts[:, None] > 0, levels.half() * reach[:, None], 0.0)
    return levels.float()


def ordered(kept: Kept, found: Tensor) -> Tensor:
    """Return the order of the parameters ``[K]`` by codebook and value, int64 ``[K]``."""
    order = found.argsort(stable=True)
    return order[kept.owners[order].argsort(stable=True)]


def distinct(kept: Kept, found: Tensor) -> Tensor:
    """Count the different values among the parameters ``[K]`` of each codebook, int64 ``[C]``."""
    order = ordered(kept, found)
    value, owner = found[order], kept.owners[order]
    fresh = torch.ones_like(owner)
    fresh[1:] = ((value[1:] != value[:-1]) | (owner[1:] != owner[:-1])).long()
    return torch.zeros_like(kept.sizes).index_add_(0, owner, fresh)


def put(kept: Kept, levels: Tensor, codes: Tensor, into: Tensor) -> None:
    """Write what the codes ``[K]`` stand for into ``into`` ``[P, n]``, in place."""
    into.view(-1)[kept.places] = levels.reshape(-1)[codes].to(into.dtype)


def rounded(net: Autoencoder, weights: Tensor, levels: Tensor, values: Sequence[int]) -> Tensor:
    """Return individuals ``[P, n]`` with matrices rounded to the ``levels`` ``[P, layers, width]`` of their codebooks.

    Biases of large layers take :data:`BIAS_VALUES` values, others those of float16. Zeros stay zeros.

    Args:
        values: of each layer's codebook.
    """
    result = weights.clone()
    kept = kept_tensors(net, weights != 0, values)
    mine = levels.flatten(0, 1)
    put(kept, mine, nearest(kept, mine, kept.of(weights)), result)
    for layer in net.layers:
        slot = net.layout.slots[layer.name + ".bias"]
        bias = result[:, slot.offset : slot.offset + slot.size]
        bias.copy_(bias.clamp(-LARGEST_HALF, LARGEST_HALF).half())
    large = [BIAS_VALUES if layer.biases >= LARGE_LAYER else 0 for layer in net.layers]
    if any(large):
        kept = kept_tensors(net, result != 0, large, "bias")
        found = kept.of(result)
        books = codebooks(kept, found).half().float()
        near = books.view(-1)[nearest(kept, books, found)].to(found.dtype)
        few = (distinct(kept, found) <= kept.sizes)[kept.owners]
        result.view(-1)[kept.places] = torch.where(few, found, near)
    return result
