"""The one state of a run: everything that changes from generation to generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aecompress.errors import RunError
from aecompress.nets.layers import initial
from aecompress.nets.shapes import Autoencoder
from aecompress.population.stats import ActivationStats, no_stats

PER_PARAMETER = ("weights", "masks", "first_moment", "second_moment")
"""The tensors ``[P, n]`` that hold a value for each parameter, by their names in :meth:`Population.tensors`."""


@dataclass(frozen=True)
class Best:
    """The best generation of each cell so far; nothing changes it in place."""

    weights: Tensor
    """``[P, n]``."""
    masks: Tensor
    """bool ``[P, n]``."""
    fitness: Tensor
    """``[P]``: on the validation rows that generations are evaluated on; +inf where none has counted yet."""


@dataclass
class Population:
    """P individuals, one per cell, as stacked tensors; n parameters each.

    A generation makes the next population from the last with :meth:`take`, which copies; inside the generation the new
    tensors are updated in place. So the last completed generation is whole at any moment.
    """

    cells: Tensor
    """int64 ``[P]``: the numbers of the cells, which key their draws; they stay when individuals are replaced."""
    weights: Tensor
    """``[P, n]``: encoder, decoder, then training-only heads."""
    masks: Tensor
    """bool ``[P, n]``, True = kept. All True where pruned weights may grow again."""
    moments: tuple[Tensor, Tensor] | None
    """Adam's first and second moment, ``[P, n]`` each; None under the fresh-Adam rule."""
    learning_rate: Tensor
    """``[P]``; stays with the cell when its individual is replaced."""
    fitness: Tensor
    """``[P]``: loss on validation rows at the last evaluation, lower is better; +inf when not finite."""
    capacity: Tensor
    """``[P]``: share of the parameters not zero at the lineage's last prune; 1 when never pruned (ALGORITHMS A7)."""
    stats: ActivationStats | None
    """Activations since the last prune; None where the operator does not look at them."""
    generation: int
    """Completed generations."""
    levels: Tensor | None = None
    """``[P, layers, values]``: the values that each matrix is rounded to, 0 before; None where weights stay exact."""
    best: Best | None = None
    """None: each cell ends as its last generation. It stays with the cells, so that copies of individuals have none."""

    def __len__(self) -> int:
        return self.weights.shape[0]

    @property
    def places(self) -> Tensor:
        """Return the places of all individuals in the tensors, int64 ``[P]``: 0 .. P-1."""
        return torch.arange(len(self), device=self.weights.device)

    def take(self, parents: Tensor, places: Tensor | None = None) -> Population:
        """Return a new population whose individual i is a copy of individual ``parents[i]``, in the cell of another.

        Args:
            parents: int64 ``[K]``, places of this population.
            places: int64 ``[K]``: individual i gets the number and the learning rate of the cell at ``places[i]``.
                None: the cells stay as they are, and K is P.
        """
        moments = self.moments
        return Population(
            cells=self.cells.clone() if places is None else self.cells[places],
            weights=self.weights[parents],
            masks=self.masks[parents],
            moments=None if moments is None else (moments[0][parents], moments[1][parents]),
            learning_rate=self.learning_rate.clone() if places is None else self.learning_rate[places],
            fitness=self.fitness[parents],
            capacity=self.capacity[parents],
            stats=None if self.stats is None else self.stats.take(parents),
            generation=self.generation,
            levels=None if self.levels is None else self.levels[parents],
        )

    def copy(self) -> Population:
        """Return a copy of every individual in its own cell."""
        return self.take(self.places)

    def pick(self, places: Tensor) -> Population:
        """Return a copy of the cells at ``places``, int64 ``[K]``: a block that is trained together while it is hot."""
        return self.take(places, places)

    def part(self, first: int, last: int) -> Population:
        """Return cells ``first`` to ``last - 1`` as views: what is done to them in place is done to this population."""
        moments, here = self.moments, slice(first, last)
        return Population(
            cells=self.cells[here],
            weights=self.weights[here],
            masks=self.masks[here],
            moments=None if moments is None else (moments[0][here], moments[1][here]),
            learning_rate=self.learning_rate[here],
            fitness=self.fitness[here],
            capacity=self.capacity[here],
            stats=None if self.stats is None else self.stats.part(first, last),
            generation=self.generation,
            levels=None if self.levels is None else self.levels[here],
        )

    def put(self, places: Tensor, block: Population) -> None:
        """Write a picked block back to its ``places``, in place."""
        mine = self.tensors()
        for name, tensor in block.tensors().items():
            mine[name].index_copy_(0, places, tensor)

    def pair(self, encoders: Tensor, decoders: Tensor, net: Autoencoder) -> Population:
        """Return K individuals: i has the encoder of individual ``encoders[i]`` and the decoder of ``decoders[i]``.

        What is not of the one or the other, its cell among it, comes with the encoder.
        """
        new, mates = self.pick(encoders), self.pick(decoders)
        place = slice(net.encoder_size, net.model_size)
        mine, theirs = new.tensors(), mates.tensors()
        for name in PER_PARAMETER:
            if name in mine:
                mine[name][:, place] = theirs[name][:, place]
        if new.levels is not None and mates.levels is not None:
            new.levels[:, len(net.encoder) :] = mates.levels[:, len(net.encoder) :]
        return new

    def put_pair(self, encoders: Tensor, decoders: Tensor, pair: Population, net: Autoencoder) -> None:
        """Write K individuals made by :meth:`pair` back where they came from, in place; no encoder or decoder twice.

        Without the values that matrices are rounded to: pairs that change partners have none.
        """
        place = slice(net.encoder_size, net.model_size)
        rest = [slice(0, net.encoder_size), slice(net.model_size, None)]
        mine, theirs = self.tensors(), pair.tensors()
        for name in PER_PARAMETER:
            if name in mine:
                mine[name][:, place].index_copy_(0, decoders, theirs[name][:, place])
                for part in rest:
                    mine[name][:, part].index_copy_(0, encoders, theirs[name][:, part])

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name but the cells' numbers: what a checkpoint holds besides the generation."""
        named = {
            "weights": self.weights,
            "masks": self.masks,
            "learning_rate": self.learning_rate,
            "fitness": self.fitness,
            "capacity": self.capacity,
        }
        if self.moments is not None:
            named |= {"first_moment": self.moments[0], "second_moment": self.moments[1]}
        if self.levels is not None:
            named["levels"] = self.levels
        if self.stats is not None:
            named |= {
                "stats_total": self.stats.total,
                "stats_square": self.stats.square,
                "stats_count": self.stats.count,
            }
        if self.best is not None:
            named |= {
                "best_weights": self.best.weights,
                "best_masks": self.best.masks,
                "best_fitness": self.best.fitness,
            }
        return named


def new_population(
    net: Autoencoder,
    size: int,
    seed: int,
    learning_rate: float,
    moments: bool,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    stats_batch: int = 0,
    gain: float = 1.0,
    values: int = 0,
    keeps_best: bool = False,
) -> Population:
    """Return ``size`` freshly initialised individuals with full masks, before generation 0; cells 0 to ``size - 1``.

    Args:
        moments: whether Adam's state is kept.
        stats_batch: batch positions of the activation statistics; 0 keeps none.
        gain: of the first weights (:func:`aecompress.nets.layers.initial`).
        values: that a matrix will be rounded to; 0: weights stay exact.
        keeps_best: whether each cell ends as its best generation.
    """
    heads = (net.log_variance,) if net.log_variance else ()
    weights = torch.empty((size, net.layout.size), device=device, dtype=dtype)
    for cell in range(size):  # one at a time, because drawing takes several times the memory of what is drawn
        key = torch.arange(cell, cell + 1, device=device)
        weights[cell : cell + 1] = initial(net.layers + heads, net.layout, seed, key, gain=gain)
    masks, lost = torch.ones_like(weights, dtype=torch.bool), torch.full_like(weights[:, 0], torch.inf)
    return Population(
        cells=torch.arange(size, device=device),
        weights=weights,
        masks=masks,
        moments=(torch.zeros_like(weights), torch.zeros_like(weights)) if moments else None,
        learning_rate=torch.full((size,), learning_rate, device=device, dtype=dtype),
        fitness=lost,
        capacity=torch.ones((size,), device=device, dtype=dtype),
        stats=no_stats(net, size, stats_batch, device) if stats_batch else None,
        generation=0,
        levels=torch.zeros((size, len(net.layers), values), device=device) if values else None,
        best=Best(torch.zeros_like(weights), masks.clone(), lost.clone()) if keeps_best else None,
    )


def load_tensors(population: Population, tensors: Mapping[str, Tensor], generation: int) -> None:
    """Fill a fresh population with a checkpoint's tensors, in place.

    Raises:
        RunError: a name or shape is not that of this run.
    """
    mine = population.tensors()
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != {name: tuple(tensor.shape) for name, tensor in mine.items()}:
        raise RunError("the checkpoint belongs to another spec; resume the run it was written by")
    for name, tensor in mine.items():
        tensor.copy_(tensors[name])
    population.generation = generation
