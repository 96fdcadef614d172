"""Who is whose neighbour: cells on a ring, or on a grid that is closed to a torus."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Place = tuple[int, int]
"""A displacement: rows down, columns right."""


@dataclass(frozen=True)
class Topology:
    """Cells in rows and columns, both closed; cell i is in row ``i // columns``. A ring is one row."""

    rows: int
    columns: int
    members: tuple[Place, ...]
    """A neighbourhood, the own cell first; with few cells, members repeat."""

    def distance(self, start: Place, end: Place) -> Place:
        """Return the displacement from one member to another, the same for all that reach the same cell."""
        return (end[0] - start[0]) % self.rows, (end[1] - start[1]) % self.columns

    def seen_from(self, values: Tensor, place: Place) -> Tensor:
        """Return ``[P, ...]`` whose entry i is that of the cell ``place`` away from cell i."""
        grid = values.view(self.rows, self.columns, *values.shape[1:])
        return grid.roll((-place[0], -place[1]), (0, 1)).flatten(0, 1)

    def neighbours(self, cells: Tensor) -> Tensor:
        """Return the members of some cells' neighbourhoods, int64 ``[K]`` -> ``[K, n]``."""
        return neighbourhoods(self, cells.device)[cells]

    def near(self, cell: int) -> set[int]:
        """Return the other cells of a neighbourhood, known on the host."""
        row, column = divmod(cell, self.columns)
        found = {
            (row + down) % self.rows * self.columns + (column + right) % self.columns for down, right in self.members
        }
        return found - {cell}


@functools.lru_cache(maxsize=64)
def neighbourhoods(topology: Topology, device: torch.device) -> Tensor:
    """Return every cell's neighbourhood, int64 ``[P, n]``."""
    cells, members = torch.arange(topology.rows * topology.columns), torch.tensor(topology.members)
    rows = cells[:, None] // topology.columns + members[:, 0]
    columns = cells[:, None] % topology.columns + members[:, 1]
    return (rows % topology.rows * topology.columns + columns % topology.columns).to(device)


def ring(cells: int, radius: int) -> Topology:
    """Place right and left neighbours out to ``radius`` (ALGORITHMS A4.1)."""
    sides = [(0, side * distance) for distance in range(1, radius + 1) for side in (1, -1)]
    return Topology(1, cells, ((0, 0), *sides))


def torus(cells: int, radius: int, corners: bool) -> Topology:
    """Lay cells on a grid as near to a square as their number allows, closed to a torus.

    Neighbours lie within ``radius`` steps right, left, down or up (von Neumann), or with ``corners`` also diagonally
    (Moore); nearer ones come first.
    """
    rows = max(side for side in range(1, cells + 1) if cells % side == 0 and side * side <= cells)
    span = range(-radius, radius + 1)
    places = [(down, right) for down in span for right in span if corners or abs(down) + abs(right) <= radius]
    places.sort(key=lambda place: (abs(place[0]) + abs(place[1]), abs(place[0]), -place[1], -place[0]))
    return Topology(rows, cells // rows, tuple(places))


TOPOLOGIES: dict[str, Callable[[int, int], Topology]] = {
    "ring": ring,
    "von-neumann": lambda cells, radius: torus(cells, radius, corners=False),
    "moore": lambda cells, radius: torus(cells, radius, corners=True),
}
"""By name: (cells, radius) -> topology."""
