"""Selection: how well the encoders and decoders of a neighbourhood do together, and who wins (ALGORITHMS A4.2-4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import rng
from aecompress.evolve.base import Plan
from aecompress.evolve.topology import Place, Topology
from aecompress.nets.layers import forward
from aecompress.nets.losses import finite_or_inf, mean_loss
from aecompress.nets.places import as_rows
from aecompress.nets.rows import RowSet, gather
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll, no_poll


def selection_batches(plan: Plan, generation: int, cells: Tensor, rows: RowSet) -> Tensor:
    """Draw one fresh batch per cell, ``[P, B, D]``; one for all, ``[1, B, D]``, where the ring shares it."""
    keys = cells[:1] * 0 if plan.neighbourhood.shared_batch else cells
    batch = min(plan.training.batch, rows.shape[0])
    index = rng.sample(plan.training.seed, "selection", generation, keys, 0, rows.shape[0], count=batch)
    return gather(rows, index)


def ring_losses(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    batches: Tensor,
    topology: Topology,
    metric: str,
    poll: Poll = no_poll,
) -> Tensor:
    """Return the losses of all encoder x decoder pairs in every cell's neighbourhood, ``[P, n, n]``, encoder first.

    Every operation takes all cells; neighbours meet by rolling the cells against themselves. With one batch for all,
    each encoder runs once, and only the distinct distances between encoder and decoder are decoded: 4 radius + 1 on a
    ring.

    Args:
        weights: ``[P, in, out]`` by name.
        batches: ``[P, B, D]``, cell i's own rows; or ``[1, B, D]`` for all.
        poll: called before every encoder and decoder; may raise to stop.
    """
    size = next(iter(weights.values())).shape[0]
    members, seen = topology.members, topology.seen_from
    if batches.shape[0] == 1:
        shared = batches.expand(size, -1, -1)
        latent = forward(net.encoder, weights, shared).out[-1]  # [P, B, latent]
        by_distance = {}
        for distance in sorted({topology.distance(encoder, decoder) for encoder in members for decoder in members}):
            poll()
            out = forward(net.decoder, weights, seen(latent, opposite(distance))).out[-1]
            by_distance[distance] = seen(mean_loss(metric, as_rows(out), batches), distance)  # by the encoder's cell
        pairs = [[seen(by_distance[topology.distance(e, d)], e) for d in members] for e in members]
        return torch.stack([torch.stack(losses, 1) for losses in pairs], 1)
    latents = []
    for e in members:
        poll()
        code = forward(net.encoder, weights, seen(batches, opposite(e))).out[-1]
        latents.append(seen(code, e))  # by the visited cell
    codes, count = torch.stack(latents, 1), len(members)  # [P, n, B, latent]
    columns = []
    for d in members:
        poll()
        out = forward(net.decoder, weights, seen(codes, opposite(d)).flatten(1, 2)).out[-1]
        out = out.reshape(size, count, *batches.shape[1:])
        columns.append(seen(mean_loss(metric, out, seen(batches, opposite(d))[:, None]), d))  # [P, n]
    return torch.stack(columns, 2)


def opposite(place: Place) -> Place:
    """Return the way back."""
    return -place[0], -place[1]


def neighbour_losses(
    net: Autoencoder,
    weights: Tensor,
    members: Tensor,
    batches: Tensor,
    metric: str,
    poll: Poll = no_poll,
) -> Tensor:
    """Return the losses of all encoder x decoder pairs in K neighbourhoods, ``[K, n, n]``, encoder first.

    Args:
        weights: of the whole ring, ``[P, n]``.
        members: cell indices, int64 ``[K, n]``.
        batches: ``[K, B, D]``, each neighbourhood's own rows.
    """
    count, size = members.shape
    own = net.layout.views(weights[members.flatten()])
    rows = batches.repeat_interleave(size, 0)  # [K n, B, D]
    latent = forward(net.encoder, own, rows).out[-1]
    latent = latent.view(count, size, *latent.shape[1:])
    losses = []
    for encoder in range(size):
        poll()
        code = latent[:, encoder].repeat_interleave(size, 0)
        losses.append(mean_loss(metric, as_rows(forward(net.decoder, own, code).out[-1]), rows).view(count, size))
    return torch.stack(losses, 1)


def fitness(losses: Tensor, concept: str) -> Tensor:
    """Return every member's fitness from its losses with all decoders, ``[P, n, n]`` -> ``[P, n]``; lower is better.

    A member whose own pair is lost (its loss is not finite) has +infinity, and its decoder does not count.
    """
    lost = ~losses.diagonal(dim1=1, dim2=2).isfinite()  # [P, n]
    ignored = lost[:, None, :].expand_as(losses)
    losses = finite_or_inf(losses)
    if concept == "best":
        scores = losses.masked_fill(ignored, torch.inf).amin(2)
    elif concept == "worst":
        scores = losses.masked_fill(ignored, -torch.inf).amax(2)
    else:
        counted = (~lost).sum(1, keepdim=True).clamp(min=1)
        scores = losses.masked_fill(ignored, 0.0).sum(2) / counted
    return scores.masked_fill(lost, torch.inf)


def drawn_members(plan: Plan, generation: int, cells: Tensor) -> Tensor:
    """Draw the members of every cell's tournament, with replacement, int64 ``[P, size]``."""
    shape, high = (plan.neighbourhood.tournament,), len(plan.neighbourhood.topology.members)
    return rng.integers(plan.training.seed, "tournament", generation, cells, 0, shape, high=high)


def tournament(scores: Tensor, drawn: Tensor) -> Tensor:
    """Return the winning member of every cell, int64 ``[P]``; a tie goes to the later draw.

    Args:
        scores: fitness ``[P, n]``.
        drawn: the members that take part, int64 ``[P, size]``.
    """
    winner = drawn[:, :1]
    for turn in range(1, drawn.shape[1]):
        rival = drawn[:, turn : turn + 1]
        wins = scores.gather(1, rival) <= scores.gather(1, winner)
        winner = torch.where(wins, rival, winner)
    # Where every draw was of a lost member, the best of the neighbourhood is taken instead.
    return torch.where(scores.gather(1, winner)[:, 0].isfinite(), winner[:, 0], scores.argmin(1))


@dataclass(frozen=True)
class RingLosses:
    """The losses of :func:`ring_losses`, infinite where they are not finite, as a function of tensors alone."""

    net: Autoencoder
    topology: Topology
    metric: str

    def __call__(self, poll: Poll, weights: Tensor, batches: Tensor) -> Tensor:
        """Return ``[P, n, n]`` of individuals ``weights`` ``[P, n]``."""
        views = self.net.layout.views(weights)
        return finite_or_inf(ring_losses(self.net, views, batches, self.topology, self.metric, poll))


@dataclass(frozen=True)
class RingWinners:
    """Who wins in every neighbourhood when all cells are visited at once, as a function of tensors alone."""

    losses: RingLosses
    concept: str

    def __call__(self, poll: Poll, weights: Tensor, batches: Tensor, drawn: Tensor) -> Tensor:
        """Return the winning members, int64 ``[P]``; ``drawn`` as of :func:`tournament`."""
        return tournament(fitness(self.losses(poll, weights, batches), self.concept), drawn)


@dataclass(frozen=True)
class Winners:
    """Who wins in some neighbourhoods, as a function of tensors alone."""

    net: Autoencoder
    metric: str
    concept: str

    def __call__(self, poll: Poll, weights: Tensor, members: Tensor, batches: Tensor, drawn: Tensor) -> Tensor:
        """Return the winning members, int64 ``[K]``: of :func:`neighbour_losses` and of :func:`tournament`."""
        losses = neighbour_losses(self.net, weights, members, batches, self.metric, poll)
        return tournament(fitness(losses, self.concept), drawn)
