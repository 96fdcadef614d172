"""From scores to masks: the one place that decides which weights go."""

from __future__ import annotations

import torch
from torch import Tensor

from aecompress.nets.autoencoder import Autoencoder


def lowest(scores: Tensor, count: int) -> Tensor:
    """Exactly the ``count`` lowest scores of each row, as bool ``[P, n]``; among equal scores the lower index first."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(count, dim=1, keepdim=True).values
    below = scores < threshold
    ties = scores == threshold
    room = count - below.sum(1, keepdim=True)
    return below | (ties & (ties.cumsum(1) <= room))


def keep_weights(net: Autoencoder, scores: Tensor, masks: Tensor, count: int) -> Tensor:
    """The masks after pruning to exactly ``count`` zeros per cell over encoder and decoder together.

    Weights already pruned stay pruned; the best weight of every layer stays, so that no layer is emptied.

    Args:
        scores: ``[P, model_size]``, lower goes first; NaN goes last.
        masks: bool ``[P, n]``, True = kept.
        count: zeros per cell afterwards; at least the zeros there are, at most :func:`most_zeros`.

    Returns:
        New masks, bool ``[P, n]``.
    """
    kept = masks[:, : net.model_size]
    scores = torch.where(kept, scores.nan_to_num(nan=torch.inf), -torch.inf)
    for layer in net.layers:
        slot = net.layout.slots[layer.name + ".weight"]
        part = scores[:, slot.offset : slot.offset + slot.size]
        part.scatter_(1, part.argmax(1, keepdim=True), torch.inf)
    result = masks.clone()
    result[:, : net.model_size] = ~lowest(scores, count)
    return result


def most_zeros(net: Autoencoder) -> int:
    """The most zeros a network can have when every layer keeps one weight."""
    return net.model_size - len(net.layers)
