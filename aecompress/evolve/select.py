"""From scores to masks: the one place that decides which weights go."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecompress.engines.cuda.available import kernels_on
from aecompress.layers.base import BoundLayer
from aecompress.nets.shapes import Autoencoder
from aecompress.nets.units import (
    any_of_unit,
    by_columns,
    by_own,
    by_reads,
    norm_in,
    norm_of_reads,
    norm_out,
)
from aecompress.transfer import on_device

TINY = 1e-30
HALVES = 1 << 16
"""Values of half of a float32's bits."""
MANY = 1 << 13
"""Scores from which counting halves is the faster selection."""


def lowest(scores: Tensor, counts: list[int], ties: Tensor | None = None) -> Tensor:
    """Mark exactly the ``counts[i]`` lowest scores of row i, as bool ``[P, n]``.

    Among equal scores the lower of ``ties`` ``[P, n]`` goes first, where given; then the lower index.
    """
    if scores.device.type == "cpu" and ties is None:
        return torch.from_numpy(_lowest_on_cpu(scores.numpy(), counts))
    if ties is None and _in_kernels(scores):
        return lowest_of_parts(scores, (scores.shape[1],), [[count] for count in counts])
    if ties is None:
        order = scores.argsort(dim=1, stable=True)
    else:
        first = ties.argsort(dim=1, stable=True)
        order = first.gather(1, scores.gather(1, first).argsort(dim=1, stable=True))
    places = torch.arange(scores.shape[1], device=scores.device)
    goes = places < on_device(counts, scores.device)[:, None]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, goes)


def lowest_of_parts(scores: Tensor, sizes: tuple[int, ...], counts: list[list[int]]) -> Tensor:
    """Mark exactly the ``counts[i][j]`` lowest scores of part j of row i, bool ``[P, n]``; of equals the lower index.

    Args:
        sizes: of the parts, which follow each other; n together.
    """
    if _in_kernels(scores):
        from aecompress.engines.cuda import select_kernels

        return select_kernels.lowest_of_parts(scores, sizes, counts)
    parts = torch.split(scores, list(sizes), 1)
    return torch.cat([lowest(part, [row[place] for row in counts]) for place, part in enumerate(parts)], 1)


def _in_kernels(scores: Tensor) -> bool:
    """Return whether kernels select among the scores, which do so without sorts and with few launches."""
    return scores.dtype == torch.float32 and kernels_on(scores.device)


def _lowest_on_cpu(scores: NDArray[np.floating], counts: list[int]) -> NDArray[np.bool_]:
    """Select with NumPy, which is ten times as fast there; ties are looked at only where there are any."""
    result = np.zeros(scores.shape, np.bool_)
    for row, count in enumerate(counts):
        if count:
            last = kth_lowest(scores[row], count)
            np.less_equal(scores[row], last, out=result[row])
            spare = int(np.count_nonzero(result[row])) - count
            if spare:
                result[row, np.flatnonzero(scores[row] == last)[-spare:]] = False
    return result


def kth_lowest(values: NDArray[np.floating], k: int) -> np.floating:
    """Return the ``k``-th lowest, from 1, of ``values`` ``[n]``, of which none is not a number.

    NumPy's own selection takes many times as long where most values are equal, as those of pruned weights are. So of
    many float32 numbers the upper halves of their bits are counted, then the lower halves of those that share the
    upper half of the one looked for.
    """
    if values.dtype != np.float32 or len(values) < MANY:
        found: np.floating = np.partition(values, k - 1)[k - 1]
        return found
    bits = values.view(np.int32)
    keys = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # whose order as integers is that of the numbers
    upper = (keys >> 16) + HALVES // 2
    ends = np.cumsum(np.bincount(upper, minlength=HALVES))
    half = int(np.searchsorted(ends, k))
    before = int(ends[half - 1]) if half else 0
    lower = np.cumsum(np.bincount(keys[upper == half] & 0xFFFF, minlength=HALVES))
    key = np.array([(half - HALVES // 2) << 16 | int(np.searchsorted(lower, k - before))]).astype(np.int32)
    return np.float32((key ^ ((key >> 31) & 0x7FFFFFFF)).view(np.float32)[0])


def keep_weights(
    net: Autoencoder, scores: Tensor, masks: Tensor, counts: list[int], ties: Tensor | None = None
) -> Tensor:
    """Return the masks after pruning cell i to exactly ``counts[i]`` zeros over encoder and decoder together.

    A cell that has more already stays as it is. Weights already pruned stay pruned; the best weight of every layer
    stays, so that no layer is emptied.

    Args:
        scores: ``[P, model_size]``, lower goes first; NaN goes last.
        masks: bool ``[P, n]``, True = kept.
        counts: zeros of each cell afterwards, where it has no more than that now; at most :func:`most_zeros`.
        ties: ``[P, model_size]``, decides among equal scores, lower goes first.

    Returns:
        New masks, bool ``[P, n]``.
    """
    kept = masks[:, : net.model_size]
    scores = torch.where(kept, scores.nan_to_num(nan=torch.inf), -torch.inf)
    for layer in net.weighted:
        slot = net.layout.slots[layer.name + ".weight"]
        place = slice(slot.offset, slot.offset + slot.size)
        part = scores[:, place]
        rank = part if ties is None else ties[:, place].masked_fill(part < part.amax(1, keepdim=True), -torch.inf)
        part.scatter_(1, rank.argmax(1, keepdim=True), torch.inf)
    result = masks.clone()
    result[:, : net.model_size] &= ~lowest(scores, counts, ties)
    return result


def most_zeros(net: Autoencoder) -> int:
    """Return the most zeros a network can have when every layer keeps one weight."""
    return net.model_size - len(net.weighted)


@functools.lru_cache(maxsize=64)
def most_unit_zeros(net: Autoencoder) -> int:
    """Return the most zeros that removing whole hidden units can give when every hidden layer keeps one."""
    removed = [torch.arange(layer.units) > 0 for layer, _ in hidden_layers(net)]
    if not removed:
        return 0
    return int((~without_units(net, torch.cat(removed)[None]))[:, : net.model_size].sum())


def hidden_layers(net: Autoencoder) -> list[tuple[BoundLayer, BoundLayer]]:
    """Return the layers whose units may be removed, each with its reader: not the latent, not the output.

    The reader is the next layer with weights that are not slopes. Units that none reads as they are, because they are
    turned into others between, stay.
    """
    found = []
    for part in (net.encoder, net.decoder):
        own = [layer for layer in part if layer.weighted and not layer.follows]
        for layer, reader in itertools.pairwise(own):
            if all(one.matrix.passes for one in between(net, layer, reader)):
                found.append((layer, reader))
    return found


def between(net: Autoencoder, layer: BoundLayer, reader: BoundLayer) -> tuple[BoundLayer, ...]:
    """Return the layers between two."""
    return net.layers[net.layers.index(layer) + 1 : net.layers.index(reader)]


def keep_units(net: Autoencoder, scores: Tensor, masks: Tensor, counts: list[int]) -> Tensor:
    """Return masks without the fewest whole hidden units that give cell i ``counts[i]`` zeros or more.

    A removed unit loses its incoming weights, its bias and its outgoing weights. The latent code, inputs and outputs
    keep their size; units already removed stay removed, and every hidden layer keeps its best unit.

    Args:
        scores: ``[P, U]`` over the units of all layers, lower goes first.
        masks: bool ``[P, n]``, True = kept.
        counts: zeros of each cell afterwards, at most :func:`most_unit_zeros`.

    Returns:
        New masks, bool ``[P, n]``.
    """
    hidden = hidden_layers(net)
    by_layer = dict(zip(net.weighted, net.split_units(scores), strict=True))
    parts = []
    for (layer, _), gone in zip(hidden, split_hidden(net, removed_units(net, masks)), strict=True):
        part = by_layer[layer].nan_to_num(nan=torch.inf).masked_fill(gone, -torch.inf)
        parts.append(part.scatter(1, part.argmax(1, keepdim=True), torch.inf))
    if not parts:
        return masks.clone()
    ranked = torch.cat(parts, 1)  # [P, hidden units]
    rank, total = ranked.argsort(dim=1, stable=True).argsort(dim=1, stable=True), ranked.shape[1]  # 0 goes first
    wanted = on_device(counts, rank.device)[:, None]
    # The number removed is found by bisection, cell by cell at once, because units that feed each other share weights.
    least = torch.zeros_like(rank[:, :1])
    most = torch.full_like(least, total - len(hidden))
    for _ in range(total.bit_length()):
        middle = (least + most) // 2
        enough = (~(masks & without_units(net, rank < middle))).sum(1, keepdim=True) >= wanted
        least = torch.where(enough, least, torch.minimum(middle + 1, most))
        most = torch.where(enough, middle, most)
    return masks & without_units(net, rank < least)


def split_hidden(net: Autoencoder, units: Tensor) -> list[Tensor]:
    """Return values of the H units of :func:`hidden_layers`, ``[P, H]``, as one view per layer."""
    return list(torch.split(units, [layer.units for layer, _ in hidden_layers(net)], 1))


def removed_units(net: Autoencoder, masks: Tensor) -> Tensor:
    """Return the hidden units that nothing feeds, bool ``[P, H]``."""
    views = net.layout.views(masks)
    parts = []
    for layer, _ in hidden_layers(net):
        feeds = views[layer.name + ".weight"].any(1)
        if layer.matrix.biases:
            feeds |= views[layer.name + ".bias"][:, 0]
        parts.append(~any_of_unit(layer, feeds))
    return torch.cat(parts, 1) if parts else masks[:, :0]


def without_units(net: Autoencoder, removed: Tensor) -> Tensor:
    """Return masks, bool ``[P, n]``, that leave out the ``removed`` hidden units ``[P, H]``, and nothing else."""
    keep = torch.ones((removed.shape[0], net.layout.size), dtype=torch.bool, device=removed.device)
    views = net.layout.views(keep)
    for (layer, reader), gone in zip(hidden_layers(net), split_hidden(net, removed), strict=True):
        columns = by_columns(layer, ~gone)[:, None, :]
        views[layer.name + ".weight"].logical_and_(columns)
        if layer.matrix.biases:
            views[layer.name + ".bias"].logical_and_(columns)
        if layer.matrix.recurs:
            views[layer.name + ".weight"].logical_and_(by_own(layer, ~gone))
        views[reader.name + ".weight"].logical_and_(by_reads(reader, ~gone))
        for slopes in between(net, layer, reader):
            if slopes.weighted:
                views[slopes.name + ".weight"].logical_and_(by_reads(slopes, ~gone))
    return keep


def per_unit(net: Autoencoder, scores: Tensor) -> Tensor:
    """Return scores of units ``[P, U]`` from those of weights ``[P, model_size]``: norm of those in x of those out.

    A relu unit is the same with its weights in doubled and those out halved; the product of norms does not change
    either. Each is relative to the mean unit of its layer, because layers' weights differ in scale for reasons that say
    nothing of their units, for example by how many inputs never vary.
    """
    views, parts = net.model_layout.views(scores), []
    own = [layer for layer in net.weighted if not layer.follows]
    readers = dict(itertools.pairwise(own))
    for layer in net.weighted:
        norm = norm_in(layer, views[layer.name + ".weight"])
        if layer in readers and readers[layer].matrix.below == layer.units:
            norm = norm * norm_of_readers(layer, readers[layer], views)
        parts.append(norm)
    return torch.cat([part / part.mean(1, keepdim=True).clamp(min=TINY) for part in parts], 1)


def norm_of_readers(layer: BoundLayer, reader: BoundLayer, views: Mapping[str, Tensor]) -> Tensor:
    """Return the norm of the weights that read each unit of ``layer``, by its reader and by itself, ``[P, units]``.

    Args:
        views: ``[P, fan_in, columns]`` by name.
    """
    norm = norm_out(reader, views[reader.name + ".weight"])
    if not layer.matrix.recurs:
        return norm
    return torch.hypot(norm, norm_of_reads(layer, views[layer.name + ".weight"]))
