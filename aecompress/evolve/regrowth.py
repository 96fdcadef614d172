"""Regrowth: pruned weights and units come back where the training loss asks for them most.

After RigL (Evci et al. 2020, "Rigging the Lottery", section 3): before each prune a share of what is kept comes back
from what was pruned and has the largest gradient, and the prune makes room for it. So it works beside any operator's
score.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aecompress.evolve.operators import Evidence
from aecompress.evolve.population import Population
from aecompress.evolve.select import hidden_layers, lowest, removed_units, split_hidden, without_units
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.layers import initial


def share_at(share: float, end: float, progress: float) -> float:
    """Share of what is kept that is exchanged at ``progress``: from ``share`` down half a cosine to 0 at ``end``."""
    return share * (1 + math.cos(math.pi * progress / end)) / 2 if progress < end else 0.0


def weights(evidence: Evidence, block: Population, scores: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """The pruned weights with the largest gradients come back, ``counts`` of them per cell or all that have one.

    They begin at 0.

    Args:
        scores: the operator's, ``[P, model_size]``.

    Returns:
        The masks with them, bool ``[P, n]``, and the scores, in which they go last. The second moments of ``block``
        become those of the weights around them, in place: a moment of 0 would make their first steps the largest.
    """
    net = evidence.net
    asked_for = evidence.gradients().abs_().masked_fill_(block.masks[:, : net.model_size], 0.0)
    back = torch.zeros_like(block.masks)
    back[:, : net.model_size] = lowest(-asked_for, counts) & (asked_for > 0)
    settle(net, block, back)
    return block.masks | back, scores.masked_fill(back[:, : net.model_size], torch.inf)


def units(evidence: Evidence, block: Population, scores: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """The removed hidden units whose outgoing weights would have the largest gradients, were they drawn anew.

    A removed unit has no gradient, so each is given fresh incoming weights for the question, with which the chosen ones
    come back; outgoing weights begin at 0, so the network computes what it did. Like :func:`weights` otherwise, with
    scores per unit, ``[P, U]``; also writes the weights of ``block``, in place.
    """
    net = evidence.net
    dead = removed_units(net, block.masks)  # [P, H]
    draw = {"generation": evidence.generation, "step": evidence.moment + 1}
    fresh = initial(net.layers, net.layout, evidence.seed, evidence.cells, **draw)
    fresh = fresh.to(block.weights.dtype).mul_(incoming_of(net, dead))
    views = net.model_layout.views(evidence.gradients(block.weights + fresh))
    asked_for = torch.cat([views[reader.name + ".weight"].norm(dim=2) for _, reader in hidden_layers(net)], 1)
    asked_for.masked_fill_(~dead, 0.0)
    chosen = lowest(-asked_for, counts) & (asked_for > 0)
    back = ~without_units(net, chosen) & without_units(net, dead & ~chosen)
    block.weights += fresh.mul_(incoming_of(net, chosen) & back)
    settle(net, block, back)
    by_layer = dict(zip(net.layers, net.split_units(scores.clone()), strict=True))
    for (layer, _), mine in zip(hidden_layers(net), split_hidden(net, chosen), strict=True):
        by_layer[layer].masked_fill_(mine, torch.inf)
    return block.masks | back, torch.cat(list(by_layer.values()), 1)


def incoming_of(net: Autoencoder, units: Tensor) -> Tensor:
    """The incoming weights and biases of hidden ``units`` ``[P, H]``, but not from one another: bool ``[P, n]``."""
    found = torch.zeros((units.shape[0], net.layout.size), dtype=torch.bool, device=units.device)
    views, parts = net.layout.views(found), split_hidden(net, units)
    for (layer, _), own in zip(hidden_layers(net), parts, strict=True):
        views[layer.name + ".weight"].logical_or_(own[:, None, :])
        views[layer.name + ".bias"].logical_or_(own[:, None, :])
    for (_, reader), own in zip(hidden_layers(net), parts, strict=True):
        views[reader.name + ".weight"].logical_and_(~own[:, :, None])
    return found


def settle(net: Autoencoder, block: Population, back: Tensor) -> None:
    """Give weights that come ``back``, bool ``[P, n]``, the mean second moment of their tensor. In place."""
    if block.moments is None:
        return
    second, new, kept = (net.layout.views(flat) for flat in (block.moments[1], back, block.masks))
    for name, moment in second.items():
        there = kept[name].sum((1, 2), keepdim=True).clamp(min=1)
        mean = moment.sum((1, 2), keepdim=True) / there  # a pruned weight's moment is 0
        torch.where(new[name], mean, moment, out=moment)
