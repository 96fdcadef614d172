"""Regrowth: pruned weights and units come back where the training loss gains most from them.

After RigL (Evci et al. 2020, "Rigging the Lottery", section 3): a prune cuts deeper than its target, and the gap
is filled with what has the largest gradient of all that is not kept. So it works beside any operator's score, which
says what is cut. Unlike there, what was cut just now may come back too, and then stays as it was.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aecompress.evolve.evidence import Evidence
from aecompress.evolve.select import hidden_layers, norm_of_readers, removed_units, split_hidden
from aecompress.nets.layers import initial
from aecompress.nets.shapes import Autoencoder
from aecompress.nets.units import by_columns, by_own, by_reads
from aecompress.population.state import Population


def share_at(share: float, end: float, progress: float) -> float:
    """Return the share of the kept that is exchanged at ``progress``: ``share``, down half a cosine to 0 at ``end``."""
    return share * (1 + math.cos(math.pi * progress / end)) / 2 if progress < end else 0.0


def weights(evidence: Evidence) -> Tensor:
    """Return how much the training loss gains from each weight, pruned or not: its |gradient|, ``[P, model_size]``.

    Where that is 0, as of units that are never active, what a weight is now decides: from -1 for a 0, which
    would stay one, up to 0.
    """
    slopes = evidence.gradients().abs_()
    worth = evidence.weights[:, : slopes.shape[1]].abs().add_(1).reciprocal_().neg_()
    return torch.where(slopes > 0, slopes, worth)


def units(evidence: Evidence, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the training loss gains from each unit: the norm of its outgoing weights' gradient, ``[P, U]``.

    A removed unit has no gradient, so each is given fresh incoming weights for the question. Its outgoing weights stay
    0, so the network computes what it did.

    Returns:
        The scores, 0 for units that cannot be removed, and the fresh weights, ``[P, n]``, 0 elsewhere.
    """
    net = evidence.net
    dead = removed_units(net, masks)  # [P, H]
    draw = {"generation": evidence.generation, "step": evidence.prune_index + 1}
    fresh = initial(net.layers, net.layout, evidence.seed, evidence.cells, **draw)
    fresh = fresh.to(evidence.weights.dtype).mul_(incoming_of(net, dead))
    views = net.model_layout.views(evidence.gradients(evidence.weights + fresh))
    readers = dict(hidden_layers(net))
    parts = [
        norm_of_readers(layer, readers[layer], views)
        if layer in readers
        else fresh.new_zeros(fresh.shape[0], layer.units)
        for layer in net.weighted
    ]
    return torch.cat(parts, 1), fresh


def standing(net: Autoencoder, scores: Tensor, kept: Tensor) -> Tensor:
    """Return scores per unit, ``[P, U]``, infinite for the hidden units that are ``kept``, bool ``[P, H]``."""
    by_layer = dict(zip(net.weighted, net.split_units(scores.clone()), strict=True))
    for (layer, _), mine in zip(hidden_layers(net), split_hidden(net, kept), strict=True):
        by_layer[layer].masked_fill_(mine, torch.inf)
    return torch.cat(list(by_layer.values()), 1)


def incoming_of(net: Autoencoder, units: Tensor) -> Tensor:
    """Return the incoming weights and biases of hidden ``units`` ``[P, H]``, not from one another: bool ``[P, n]``."""
    found = torch.zeros((units.shape[0], net.layout.size), dtype=torch.bool, device=units.device)
    views, parts = net.layout.views(found), split_hidden(net, units)
    for (layer, _), own in zip(hidden_layers(net), parts, strict=True):
        columns = by_columns(layer, own)[:, None, :]
        views[layer.name + ".weight"].logical_or_(columns)
        views[layer.name + ".bias"].logical_or_(columns)
    for (layer, reader), own in zip(hidden_layers(net), parts, strict=True):
        views[reader.name + ".weight"].logical_and_(by_reads(reader, ~own))
        if layer.matrix.recurs:
            views[layer.name + ".weight"].logical_and_(by_own(layer, ~own))
    return found


def init_moments(net: Autoencoder, block: Population, back: Tensor) -> None:
    """Give weights that come ``back``, bool ``[P, n]``, the mean second moment of their tensor's kept ones. In place.

    With a moment of 0 their first steps would be the largest of all.
    """
    if block.moments is None:
        return
    second, new, kept = (net.layout.views(flat) for flat in (block.moments[1], back, block.masks))
    for name, moment in second.items():
        there = kept[name].sum((1, 2), keepdim=True).clamp(min=1)
        mean = moment.sum((1, 2), keepdim=True) / there  # a pruned weight's moment is 0
        torch.where(new[name], mean, moment, out=moment)
