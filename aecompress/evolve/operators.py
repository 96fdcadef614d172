"""Pruning operators: each is a score, lower goes first; three also have the form of the paper.

A score is one number per weight ``[P, model_size]`` or per unit ``[P, U]``. Operators see plain tensors and change
nothing: :mod:`aecompress.evolve.select` turns scores into masks. The published forms (ALGORITHMS A5) draw masks
themselves and stand beside their scores.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress import plugins
from aecompress.errors import RunError, SpecError
from aecompress.evolve.evidence import Evidence, incoming
from aecompress.evolve.select import TINY, lowest_of_parts
from aecompress.nets.layers import forward
from aecompress.nets.places import as_given
from aecompress.nets.units import by_reads, norm_of_units
from aecompress.registry import OPERATORS, Level, Needs


@dataclass(frozen=True)
class Operator:
    """A score with what it needs; ``published`` gives keep masks ``[P, model_size]`` in the paper's form."""

    score: Callable[[Evidence], Tensor]
    level: Level
    needs: Needs = "nothing"
    published: Callable[[Evidence], Tensor] | None = None


def random(evidence: Evidence) -> Tensor:
    """Score every weight at random, so that each is equally likely: ``[P, model_size]``."""
    return evidence.draw("random-score", evidence.net.model_size)


def random_published(evidence: Evidence) -> Tensor:
    """Cut round-half-even(amount x size) entries of every tensor, drawn without replacement from all of them."""
    draws, sizes = random(evidence), tuple(slot.size for slot in evidence.net.model_layout.slots.values() if slot.size)
    return ~lowest_of_parts(draws, sizes, [[round(evidence.amount * size) for size in sizes]] * len(draws))


def magnitude(evidence: Evidence) -> Tensor:
    """Score by |w| over the whole network, ``[P, model_size]`` (Han et al. 2015)."""
    return evidence.weights[:, : evidence.net.model_size].abs()


def magnitude_layer(evidence: Evidence) -> Tensor:
    """Rank |w| in its layer, as a share of the layer: every layer loses the same share, ``[P, model_size]``."""
    parts = torch.split(magnitude(evidence), evidence.net.layer_sizes, 1)
    ranks = [part.argsort(dim=1, stable=True).argsort(dim=1, stable=True) / part.shape[1] for part in parts]
    return torch.cat(ranks, 1).to(evidence.weights.dtype)


def wanda(evidence: Evidence) -> Tensor:
    """Score by |w| x norm of its input over training rows, ``[P, model_size]`` (Sun et al. 2024, equation 1).

    The input of a weight is the unit that it reads, with all of that unit's values; that of a bias is 1. Norms are root
    mean squares, so that they do not depend on the number of rows. The paper compares the weights of one output only;
    here each is relative to the mean kept weight of its layer, so that layers can be compared.
    """
    rows, scores = evidence.batch(), magnitude(evidence).clone()
    trace, views = forward(evidence.net.layers, evidence.views, rows), evidence.net.model_layout.views(scores)
    for layer, below, own in zip(evidence.net.layers, [rows, *trace.out], trace.out, strict=False):
        if layer.weighted:
            norms = norm_of_units(as_given(layer, below)), norm_of_units(own)
            views[layer.name + ".weight"] *= by_reads(layer, *norms)
    for part in torch.split(scores, evidence.net.layer_sizes, 1):
        part /= part.sum(1, keepdim=True) / (part > 0).sum(1, keepdim=True).clamp(min=1) + TINY
    return scores


def taylor(evidence: Evidence) -> Tensor:
    """Score by |w x gradient|, the loss's first-order change without w (Molchanov et al. 2019, equation 8).

    ``[P, model_size]``. The paper's importance is its square, which ranks the same.
    """
    return evidence.gradients().mul_(evidence.weights[:, : evidence.net.model_size]).abs_()


def obd(evidence: Evidence) -> Tensor:
    """Score by |w| x root of its gradients' mean square, ``[P, model_size]`` (LeCun et al. 1990, equation 5).

    The saliency of that paper, "Optimal Brain Damage", is h w^2 / 2 with h the loss's second derivative; its root ranks
    the same. For h stands the mean square of gradients, the diagonal of the empirical Fisher information, which Adam
    keeps already. A row meets a kernel's weight at every place, so that its gradients are large: its places count.

    Raises:
        RunError: training keeps no such mean.
    """
    return roots(evidence, "obd").mul_(magnitude(evidence))


def obd_root(evidence: Evidence) -> Tensor:
    """Score by |w| x fourth root of its gradients' mean square, ``[P, model_size]``: midway from magnitude to obd.

    The gradients of what is learnt perfectly are near 0, though the loss without it would be high; with half of their
    say, that is pruned less often.

    Raises:
        RunError: training keeps no such mean.
    """
    return roots(evidence, "obd-root").sqrt_().mul_(magnitude(evidence))


def roots(evidence: Evidence, operator: str) -> Tensor:
    """Return the root of each weight's gradients' mean square, ``[P, model_size]``.

    Raises:
        RunError: training keeps no such mean.
    """
    if evidence.squares is None:
        raise RunError(f"prune.operator = {operator!r}: reads Adam's moments; set train.optimizer to 'adam'")
    return evidence.squares[:, : evidence.net.model_size].sqrt()


def variance(evidence: Evidence) -> Tensor:
    """Score by 1 - spread of a unit's activation, scaled to [0, 1] in its layer, ``[P, U]``: the most variable first.

    Under order "low" the spread itself is scaled, and the least variable goes first.
    """
    assert evidence.stats is not None
    spread = evidence.stats.scores()
    parts = []
    for score in evidence.net.split_units(1 - spread if evidence.order == "high" else spread):
        low, high = score.amin(1, keepdim=True), score.amax(1, keepdim=True)
        parts.append(torch.where(high > low, (score - low) / (high - low), score))
    return torch.cat(parts, 1).to(evidence.weights.dtype)


def variance_published(evidence: Evidence) -> Tensor:
    """Keep each incoming weight and bias of a unit where the unit's score > U, drawn per weight."""
    draws = evidence.draw("variance", evidence.net.model_size)
    return incoming(evidence.net, variance(evidence)) > draws


def conjunctive(evidence: Evidence) -> Tensor:
    """Return the share of guide rows on which the unit is active: the least active goes first, ``[P, U]``."""
    return 1 - evidence.inactive().to(evidence.weights.dtype).mean(1)


def conjunctive_published(evidence: Evidence) -> Tensor:
    """Cut all incoming weights and the bias of units that are inactive on row after row.

    The first row's inactive units are intersected with the next row's, stopping before an intersection once at most one
    unit is left in the layer.
    """
    keep = []
    for candidates in evidence.net.split_units(evidence.inactive()):
        together = candidates.cumprod(1)  # [P, R, out]: inactive on all rows so far
        enough = together.sum(2) <= 1  # [P, R]
        rows = candidates.shape[1]
        # The first row after which at most one is left, else the last row.
        stop = torch.where(enough.any(1), enough.int().argmax(1), rows - 1)
        index = stop[:, None, None].expand(-1, 1, candidates.shape[2])
        keep.append(together.gather(1, index)[:, 0] == 0)
    return incoming(evidence.net, torch.cat(keep, 1))


def operator_of(name: str) -> Operator:
    """Return the operator ``name``: a row of the registry, or the one that an installed package brings under that name.

    Raises:
        SpecError: there is none, or what the package brings is no :class:`Operator`.
    """
    row = OPERATORS.get(name)
    if row is not None:
        published = pkgutil.resolve_name(row.published) if row.published else None
        return Operator(pkgutil.resolve_name(row.score), row.level, row.needs, published)
    found = plugins.load(plugins.OPERATORS, "prune.operator", name, list(OPERATORS))
    if not isinstance(found, Operator):
        raise SpecError(
            f"prune.operator = {name!r}: its package brings {found!r}, which is no Operator; ask its author"
        )
    return found
