"""What pruning operators look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aecompress import rng
from aecompress.nets.autoencoder import gradient, widest
from aecompress.nets.layers import forward
from aecompress.nets.rows import RowSet, gather
from aecompress.nets.shapes import Autoencoder
from aecompress.nets.units import by_columns
from aecompress.population.stats import ActivationStats, activations


def inactive(net: Autoencoder, weights: Mapping[str, Tensor], rows: Tensor, threshold: float) -> Tensor:
    """Return which units are inactive on guide rows, bool ``[P, R, U]``; ``rows`` ``[P, R, D]``.

    Per row and layer the activations are scaled to [0, 1]; below ``threshold``, strictly, a unit is inactive. A layer
    that is equal everywhere on a row has none (ALGORITHMS A5, conjunctive).
    """
    parts = []
    for values in activations(net, forward(net.layers, weights, rows)):
        low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
        scaled = (values - low) / (high - low)
        parts.append((scaled < threshold) & (high > low))
    return torch.cat(parts, 2)


def incoming(net: Autoencoder, units: Tensor) -> Tensor:
    """Give the value of each unit ``[P, U]`` to its incoming weights and its bias: ``[P, model_size]``."""
    parts = []
    for layer, values in zip(net.weighted, net.split_units(units), strict=True):
        rows = layer.inputs + layer.matrix.biases
        parts.append(by_columns(layer, values)[:, None, :].expand(-1, rows, -1).flatten(1))
    return torch.cat(parts, 1)


GUIDING_ROWS = 256
"""Training rows that are drawn where a score or regrowth looks at gradients or at the inputs of layers."""


GRADIENT_VALUES = 1 << 20
"""Values of training rows whose gradients are taken together on a CPU, so that layers' outputs stay in its cache."""


@dataclass(frozen=True)
class Evidence:
    """What an operator may look at, and the key of its draws."""

    net: Autoencoder
    weights: Tensor
    """``[P, n]``."""
    seed: int
    generation: int
    prune_index: int
    """Which prune of the generation this is, from 0."""
    cells: Tensor
    """int64 ``[P]``, the cell indices."""
    stats: ActivationStats | None = None
    """Activations since the last prune; present when the operator needs "stats"."""
    guide: RowSet | None = None
    """``[G, D]``: rows that guide rows are drawn from; present when the operator needs "guide"."""
    rows: RowSet | None = None
    """``[N, D]``: training rows."""
    loss: str = "mse"
    """The training loss, whose gradient is taken."""
    amount: float = 0.1
    threshold: float = 0.1
    guide_rows: int = 100
    squares: Tensor | None = None
    """Adam's second moment ``[P, n]``, the running mean of gradients squared; None under the fresh-Adam rule."""
    order: Literal["high", "low"] = "high"
    """Which spread goes first."""

    @property
    def views(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""
        return self.net.layout.views(self.weights)

    def draw(self, purpose: str, size: int) -> Tensor:
        """Draw uniformly ``[P, size]`` for this prune."""
        return rng.uniform(self.seed, purpose, self.generation, self.cells, self.prune_index, (size,))

    def batch(self, first: int = 0, last: int | None = None) -> Tensor:
        """Draw training rows ``[P, R, D]``, each cell's own, with replacement; all of them where there are no more.

        Args:
            first, last: the rows of these cells alone, ``last`` excluded.
        """
        assert self.rows is not None
        cells, there = self.cells[first:last], self.rows.shape[0]
        if there <= GUIDING_ROWS:
            return gather(self.rows, torch.arange(there, device=cells.device)).expand(cells.shape[0], -1, -1)
        index = rng.integers(
            self.seed, "guiding", self.generation, cells, self.prune_index, (GUIDING_ROWS,), high=there
        )
        return gather(self.rows, index)

    def gradients(self, weights: Tensor | None = None) -> Tensor:
        """Return the training loss's gradient on :meth:`batch`, ``[P, model_size]``, of pruned weights too.

        Without the noise of a denoising or variational family: its mean is wanted, and a batch is few draws of it.

        Args:
            weights: ``[P, n]``; None: those the operator sees.
        """
        weights = self.weights if weights is None else weights
        found, net, cells = torch.zeros_like(weights), self.net, self.cells.shape[0]
        together = cells
        if weights.device.type == "cpu":
            together = max(GRADIENT_VALUES // (GUIDING_ROWS * widest(net)), 1)
        for first in range(0, cells, together):
            batch, part = self.batch(first, first + together), slice(first, first + together)
            none = None if net.log_variance is None else batch.new_zeros((*batch.shape[:2], net.latent))
            mine, into = net.layout.views(weights[part]), net.layout.views(found[part])
            gradient(net, mine, into, batch, none, 0.0, loss=self.loss)
        return found[:, : net.model_size]

    def inactive(self) -> Tensor:
        """Return which units are inactive on each guide row, bool ``[P, R, U]``; rows are drawn with replacement."""
        assert self.guide is not None
        shape, high = (self.guide_rows,), self.guide.shape[0]
        index = rng.integers(self.seed, "guide", self.generation, self.cells, self.prune_index, shape, high=high)
        return inactive(self.net, self.views, gather(self.guide, index), self.threshold)
