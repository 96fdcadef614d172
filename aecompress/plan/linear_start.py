"""First weights that give the principal components: the best that a linear network of the same code can do.

A relu leaves what is above 0 as it is. So a hidden unit that reads one component, with an offset that keeps it above 0,
passes it on, and a chain of such units computes code = (row - mean) directions and the row from it exactly (Baldi and
Hornik 1989). The other hidden units are drawn, and nothing reads them yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from aecompress.data.pca import Components
from aecompress.data.sparse import Rows
from aecompress.layers.dense import Dense
from aecompress.layers.names import slope_of
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.facts import RunFacts
from aecompress.spec.fields import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

Doubles = NDArray[np.float64]

ABOVE_ZERO = ("identity", "relu", "elu")
"""Activations that leave what is above 0 as it is, beside those of a slope."""
MARGIN = 0.5
"""Share of a component's range over the training rows that other rows may lie beyond it, and still be passed on."""
PRUNED_MARGIN = 0.2
"""That where weights are pruned: of units with large offsets none can be spared."""
DRAWN = 0.1
"""Share of their size that the first weights of other hidden units keep: what nothing reads yet is pruned first."""
SATURATED = 0.25
"""Share of values at 0 or 1 from which on a sigmoid is the better output."""
FEW_VALUES = 12
"""Of the training rows for each weight, below which a linear output is the better one all the same."""
TURNS = 100
"""Most turns of the search for the rotation."""
TURN_PRODUCTS = 1 << 33
"""Products that they may cost together: about a second on one core."""
SETTLED = 1e-6
"""A turn that gains a smaller share than this is the last one."""
BLOCK_VALUES = 1 << 20
"""Of rows that are looked at together."""


LINEAR = (
    "requested", "pretrained", "binary", "sparse", "inputs", "model.network",
    "model.family", "model.encoder", "model.hidden", "model.latent", "model.activation", "model.latent_activation",
    "prune.granularity",
)  # fmt: skip
"""What :func:`linear_by_default` reads, beside the loss."""


def linear_requested(draft: RunSpec, facts: RunFacts) -> bool:
    """Return whether it is requested that a model begins as principal components."""
    return draft.model.network == "pca" or ("model.initial" in facts.requested and draft.model.initial == "pca")


def linear_by_default(draft: RunSpec, facts: RunFacts) -> bool:
    """Return whether a model begins as principal components where that is left open.

    Not where all values are 0 or 1, nor where whole units are pruned.
    """
    model, data = draft.model, facts.data
    if facts.requested & OTHERS or facts.pretrained or data.binary or data.sparse or model.encoder:
        return False
    if "train.loss" in facts.requested and str(draft.train.loss).startswith("bce"):
        return False
    if model.network != "default" or model.family != "plain" or draft.prune.granularity == "unit":
        return False
    if model.latent_activation != "identity" or not keeps_positive(str(model.activation)):
        return False
    return min(sizes_of(draft, facts)) == model.latent


def output_is_linear(draft: RunSpec, facts: RunFacts) -> bool:
    """Return whether a model that begins as components has a linear output, under which they are exact.

    A sigmoid is better where many values are 0 or 1, which it tends to, and there are enough to learn that.
    """
    weights = 2 * sum(one * other for one, other in pairwise(sizes_of(draft, facts)))
    return facts.data.saturated < SATURATED or facts.data.rows * facts.data.inputs < FEW_VALUES * weights


def sizes_of(draft: RunSpec, facts: RunFacts) -> list[int]:
    """Return the sizes of the encoder's layers, from the inputs to the code."""
    return [facts.data.inputs, *cast(tuple[int, ...], draft.model.hidden), cast(int, draft.model.latent)]


OTHERS = {"model.initial", "prune.drive", "prune.form", "prune.probability"}
"""Fields of which one that is requested leaves the first weights as they were drawn."""


def keeps_positive(activation: str) -> bool:
    """Return whether an activation leaves what is above 0 as it is."""
    return activation in ABOVE_ZERO or slope_of(activation) is not None


def why_not_linear(net: Autoencoder) -> str:
    """Return why no first weights of a network give principal components, as a clause; empty: there are such."""
    layers = net.layers
    if any(layer.kind != Dense.kind or len(layer.given) > 1 for layer in layers):
        return "its layers are not all dense, on flat rows"
    if net.log_variance is not None:
        return "its family is variational"
    if net.encoder[-1].activation != "identity" or net.decoder[-1].activation not in LINKS:
        return "the activation of its code is not identity, or that of its output neither that nor sigmoid"
    if not all(keeps_positive(layer.activation) for layer in layers[:-1]):
        return "an activation changes what is above 0"
    if min(layer.outputs for layer in layers) < net.latent:
        return "a layer has fewer units than the code has values"
    return ""


class Link(NamedTuple):
    """An output's activation as a straight line about the mean row."""

    before: Callable[[Doubles], Doubles]
    """From the mean row ``[D]`` to the values under it before the activation."""
    slope: Callable[[Doubles], Doubles]
    """From the mean row to the slope of the activation there."""


RAREST = 1e-3
"""A mean nearer to 0 or 1 counts as this, so that what a sigmoid is given for it stays small enough to unlearn."""
FLATTEST = 0.1
"""The least slope of a sigmoid that weights are divided by; where it is flatter they would grow too large."""


def logit(mean: Doubles) -> Doubles:
    """Return what a sigmoid is given for ``mean``."""
    inside = np.clip(mean, RAREST, 1 - RAREST)
    return np.log(inside / (1 - inside))


LINKS: dict[str, Link] = {
    "identity": Link(lambda mean: mean, np.ones_like),
    "sigmoid": Link(logit, lambda mean: np.maximum(mean * (1 - mean), FLATTEST)),
}
"""Activations of the output under which a network can begin as principal components."""


class LinearStart(NamedTuple):
    """What first weights are made of."""

    mean: Doubles
    """``[D]``"""
    directions: Doubles
    """``[D, K]``, orthonormal columns."""
    offsets: Doubles
    """``[K]``: with them the components are above 0 on the training rows, and some way beyond."""


def linear_start(rows: Rows, found: Components, margin: float = MARGIN) -> LinearStart:
    """Return the principal components of rows ``[N, D]``, turned so that few inputs matter to each.

    Turned ones span the same, and can lose more weights (varimax; Kaiser 1958). The same bits on any number of threads.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        directions = found.directions @ varimax(found.directions)
        low, high = ranges(rows, found.mean, directions)
    signs = np.where(-low > high, -1.0, 1.0)  # the longer side is the one that needs no offset
    short = np.minimum(-low, high)
    return LinearStart(found.mean, directions * signs, short + margin * (high - low))


def as_they_are(found: Components) -> LinearStart:
    """Return principal components for a network without hidden layers, which needs no offsets."""
    return LinearStart(found.mean, found.directions, np.zeros(len(found.variances)))


def varimax(directions: Doubles) -> Doubles:
    """Return the rotation ``[K, K]`` after which the squares of ``directions`` ``[D, K]`` vary most in each column."""
    inputs, count = directions.shape
    turns = min(TURNS, TURN_PRODUCTS // max(2 * inputs * count * count, 1))
    rotation, last = np.eye(count), 0.0
    for _ in range(turns if count > 1 else 0):
        turned = directions @ rotation
        slope = directions.T @ (turned**3 - turned * (turned**2).mean(0))
        left, values, right = np.linalg.svd(slope)
        rotation = left @ right
        if values.sum() <= last * (1 + SETTLED):
            break
        last = float(values.sum())
    return rotation


def ranges(rows: Rows, mean: Doubles, directions: Doubles) -> tuple[Doubles, Doubles]:
    """Return the least and the greatest value of each component over rows ``[N, D]``: ``[K]`` each."""
    low, high = np.zeros(directions.shape[1]), np.zeros(directions.shape[1])
    step = max(1, BLOCK_VALUES // rows.shape[1])
    narrow, shift = directions.astype(np.float32), mean @ directions
    for start in range(0, len(rows), step):
        code = np.asarray(rows[start : start + step], np.float32) @ narrow - shift
        low, high = np.minimum(low, code.min(0)), np.maximum(high, code.max(0))
    return low, high


def begin_linear(net: Autoencoder, views: Mapping[str, Tensor], start: LinearStart) -> None:
    """Give individuals first weights that reconstruct rows by their principal components; in place.

    Under a sigmoid as near as its tangent at the mean row comes. Of a network that :func:`why_not_linear` has nothing
    against. The weights of units that pass on no component stay as they are, and what would read them is 0.

    Args:
        views: the parameters of the individuals by name, ``[P, in, out]`` and ``[P, 1, out]``.
    """
    import torch

    def written(values: Doubles) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    count, last = start.directions.shape[1], len(net.layers) - 1
    below = start.mean @ start.directions  # what is subtracted from what a layer reads, so that components are left
    for at, layer in enumerate(net.layers):
        weight, bias = views[f"{layer.name}.weight"], views[f"{layer.name}.bias"]
        linear = layer.activation == "identity"
        if at < last and layer is not net.encoder[-1]:
            weight[:, :, count:] *= DRAWN
            bias[:, :, count:] *= DRAWN
        if at == last:
            link = LINKS[layer.activation]
            reading = start.directions.T / link.slope(start.mean)
            weight.zero_()
            weight[:, :count] = written(reading).to(weight)
            bias[:] = written(link.before(start.mean) - below @ reading).to(bias)
            continue
        offsets = np.zeros(count) if linear else start.offsets
        if at == 0:
            if layer is net.encoder[-1]:
                weight.zero_()
                bias.zero_()
            weight[:, :, :count] = written(start.directions).to(weight)
        else:
            weight[:, :, : layer.outputs if layer is net.encoder[-1] else count] = 0
            weight[:, :count, :count] = torch.eye(count, dtype=weight.dtype, device=weight.device)
        bias[:, :, :count] = written(offsets - below).to(bias)
        below = offsets
