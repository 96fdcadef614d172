"""How well a model of interactions foretells what a user takes next: recall@k and nDCG@k on held-out items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from aecompress import rng
from aecompress.data.interactions import SparseRows
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.layers import forward

HELD = 0.2
"""Share of a user's items that are held out; the model is given the others (Liang et al. 2018, section 4.2)."""
RECALL_AT = (20, 50)
GAIN_AT = 100
CHUNK = 256
"""Users at a time."""


def held_out(rows: SparseRows, seed: int) -> np.ndarray:
    """Which interactions are held out: bool, one for each of ``rows.places``; of users with one item, none.

    Of n items round(0.2 n), at least one, drawn at random.
    """
    counts = np.diff(rows.starts)
    owner = np.repeat(np.arange(len(rows)), counts)
    order = np.lexsort((rng.host(seed, "held-out").random(len(owner)), owner))
    place = np.empty(len(owner), np.int64)
    place[order] = np.arange(len(owner)) - np.repeat(rows.starts[:-1], counts)
    wanted = np.where(counts > 1, np.maximum(1, np.round(HELD * counts)), 0)
    held: np.ndarray = place < wanted[owner]
    return held


def ranking(
    net: Autoencoder, weights: dict[str, torch.Tensor], rows: SparseRows, seed: int, poll: Callable[[], None]
) -> dict[str, float]:
    """Mean over users of recall@20, recall@50 and nDCG@100 on their held-out items; what was given is not ranked.

    Args:
        weights: of one individual, ``[1, in, out]`` by name.
        rows: users that the model was not trained on.
    """
    from torchmetrics.functional.retrieval import retrieval_normalized_dcg, retrieval_recall  # more than a second

    held = held_out(rows, seed)
    names = [*(f"recall@{k}" for k in RECALL_AT), f"ndcg@{GAIN_AT}"]
    found: dict[str, list[float]] = {name: [] for name in names}
    device = next(iter(weights.values())).device
    for first in range(0, len(rows), CHUNK):
        poll()
        given = torch.from_numpy(rows[first : first + CHUNK])
        wanted = torch.zeros_like(given, dtype=torch.bool)
        for user in range(len(given)):
            ones = slice(rows.starts[first + user], rows.starts[first + user + 1])
            kept_back = torch.from_numpy(rows.places[ones][held[ones]].astype(np.int64))
            given[user, kept_back] = 0
            wanted[user, kept_back] = True
        scores = forward(net.layers, weights, given[None].to(device)).pre[-1][0].cpu()
        # torchmetrics takes scores that are not above 0 as not retrieved, so it gets places: the best has the highest.
        places = (
            scores.masked_fill(given > 0, -torch.inf).argsort(1).argsort(1).add(1).masked_fill(given > 0, 0).float()
        )
        for score, target in zip(places, wanted, strict=True):
            if target.any():
                for k in RECALL_AT:
                    found[f"recall@{k}"].append(float(retrieval_recall(score, target, top_k=k)))
                found[f"ndcg@{GAIN_AT}"].append(float(retrieval_normalized_dcg(score, target, top_k=GAIN_AT)))
    return {name: float(np.mean(values)) for name, values in found.items() if values}
