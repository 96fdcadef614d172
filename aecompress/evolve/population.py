"""The one state of a run: everything that changes from generation to generation."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.layers import initial


@dataclass
class Population:
    """P individuals, one per cell, as stacked tensors; n parameters each.

    A generation makes the next population from the last with :meth:`take`, which copies; inside the generation the new
    tensors are updated in place. So the last completed generation is whole at any moment.
    """

    weights: Tensor
    """``[P, n]``: encoder, decoder, then training-only heads."""
    masks: Tensor
    """bool ``[P, n]``, True = kept. All True where pruned weights may grow again."""
    moments: tuple[Tensor, Tensor] | None
    """Adam's first and second moment, ``[P, n]`` each; None under the fresh-Adam rule."""
    learning_rate: Tensor
    """``[P]``; stays with the cell when its individual is replaced."""
    fitness: Tensor
    """``[P]``: loss on validation rows at the last measurement, lower is better; +inf when not finite."""
    generation: int
    """Completed generations."""

    @property
    def cells(self) -> Tensor:
        """int64 ``[P]``: the cell indices, on the population's device."""
        return torch.arange(self.weights.shape[0], device=self.weights.device)

    def take(self, parents: Tensor) -> Population:
        """A new population whose cell i holds a copy of individual ``parents[i]``; ``parents`` int64 ``[P]``."""
        moments = self.moments
        return Population(
            weights=self.weights[parents],
            masks=self.masks[parents],
            moments=None if moments is None else (moments[0][parents], moments[1][parents]),
            learning_rate=self.learning_rate.clone(),
            fitness=self.fitness[parents],
            generation=self.generation,
        )

    def to(self, dtype: torch.dtype) -> Population:
        """The same population with its numbers in ``dtype``."""
        moments = self.moments
        return Population(
            self.weights.to(dtype),
            self.masks,
            None if moments is None else (moments[0].to(dtype), moments[1].to(dtype)),
            self.learning_rate.to(dtype),
            self.fitness.to(dtype),
            self.generation,
        )

    def block(self, first: int, last: int) -> Population:
        """Cells ``first`` to ``last - 1`` as views: training the block trains these cells of the population."""
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value[first:last]
            elif isinstance(value, tuple):
                value = tuple(tensor[first:last] for tensor in value)
            values[field.name] = value
        return Population(**values)


def new_population(
    net: Autoencoder, size: int, seed: int, learning_rate: float, moments: bool, device: torch.device
) -> Population:
    """``size`` freshly initialised individuals with full masks, before generation 0."""
    cells = torch.arange(size, device=device)
    weights = initial(net.layers + ((net.log_variance,) if net.log_variance else ()), net.layout, seed, cells)
    return Population(
        weights=weights,
        masks=torch.ones_like(weights, dtype=torch.bool),
        moments=(torch.zeros_like(weights), torch.zeros_like(weights)) if moments else None,
        learning_rate=torch.full((size,), learning_rate, device=device),
        fitness=torch.full((size,), torch.inf, device=device),
        generation=0,
    )
