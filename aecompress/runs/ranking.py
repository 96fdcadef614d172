"""Metrics that only interactions have: recall@k and nDCG@k on held-out items."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import Tensor

from aecompress import rng
from aecompress.data.sparse import SparseRows
from aecompress.nets.layers import forward
from aecompress.nets.shapes import Autoencoder
from aecompress.pictures import import_matplotlib
from aecompress.polling import Poll

HELD_OUT = 0.2
"""Share of a user's items that are held out; the model is given the others (Liang et al. 2018, section 4.2)."""
RECALL_AT = (20, 50)
NDCG_AT = 100
CHUNK = 256
"""Users at a time."""


def held_out(rows: SparseRows, seed: int) -> np.ndarray:
    """Draw which interactions are held out: bool, one for each of ``rows.places``; of users with one item, none.

    Of n items round(0.2 n), at least one.
    """
    counts = np.diff(rows.starts)
    owner = np.repeat(np.arange(len(rows)), counts)
    order = np.lexsort((rng.host(seed, "held-out").random(len(owner)), owner))
    place = np.empty(len(owner), np.int64)
    place[order] = np.arange(len(owner)) - np.repeat(rows.starts[:-1], counts)
    target = np.where(counts > 1, np.maximum(1, np.round(HELD_OUT * counts)), 0)
    held: np.ndarray = place < target[owner]
    return held


def known_and_relevant(rows: SparseRows, held: np.ndarray, first: int) -> tuple[Tensor, Tensor]:
    """Return what the model is given of the users from ``first`` on, and what it is to find, ``[K, D]`` each."""
    known = torch.from_numpy(rows[first : first + CHUNK])
    relevant = torch.zeros_like(known, dtype=torch.bool)
    for user in range(len(known)):
        ones = slice(rows.starts[first + user], rows.starts[first + user + 1])
        items = torch.from_numpy(rows.places[ones][held[ones]].astype(np.int64))
        known[user, items] = 0
        relevant[user, items] = True
    return known, relevant


def ranking(net: Autoencoder, weights: dict[str, Tensor], rows: SparseRows, seed: int, poll: Poll) -> dict[str, float]:
    """Return the mean over users of recall@20, recall@50 and nDCG@100 on their held-out items.

    Items that the model is given are not ranked.

    Args:
        weights: of one individual, ``[1, in, out]`` by name.
        rows: users that the model was not trained on.
    """
    with contextlib.suppress(ImportError):
        import_matplotlib()  # before torchmetrics does
    from torchmetrics.functional.retrieval import retrieval_normalized_dcg, retrieval_recall  # an extra, and slow

    held = held_out(rows, seed)
    names = [*(f"recall@{k}" for k in RECALL_AT), f"ndcg@{NDCG_AT}"]
    found: dict[str, list[float]] = {name: [] for name in names}
    device = next(iter(weights.values())).device
    for first in range(0, len(rows), CHUNK):
        poll()
        known, relevant = known_and_relevant(rows, held, first)
        scores = forward(net.layers, weights, known[None].to(device)).pre[-1][0].cpu()
        # torchmetrics counts scores that are not above 0 as not retrieved, so it gets ranks: the best has the highest.
        ranks = scores.masked_fill(known > 0, -torch.inf).argsort(1).argsort(1).add(1).masked_fill(known > 0, 0).float()
        for rank, target in zip(ranks, relevant, strict=True):
            if target.any():
                for k in RECALL_AT:
                    found[f"recall@{k}"].append(float(retrieval_recall(rank, target, top_k=k)))
                found[f"ndcg@{NDCG_AT}"].append(float(retrieval_normalized_dcg(rank, target, top_k=NDCG_AT)))
    return {name: float(np.mean(values)) for name, values in found.items() if values}
