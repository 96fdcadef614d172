"""Kernels that move over the places of a row: their numbers per axis, and the matrix of their weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from aecompress.errors import SpecError
from aecompress.layers.base import Index, Matrix, Shape, Values

BLOCK_VALUES = 1 << 18
"""Values that a product is made of at a time in NumPy, which a cache holds."""


def per_axis(name: str, field: str, values: tuple[int, ...], axes: int, least: int) -> tuple[int, ...]:
    """Return a number for each of so many axes, of which one stands for all.

    Raises:
        SpecError: there are others than that, or one is below ``least``.
    """
    numbers = tuple(values) * (axes if len(values) == 1 else 1)
    if len(numbers) != axes or min(numbers) < least:
        which = "one number" if axes == 1 else f"one number or {axes}"
        raise SpecError(f"model: layer {name}: {field} = {list(values)}: give {which} of at least {least}")
    return numbers


def check_groups(name: str, out: int, groups: int) -> None:
    """Refuse groups that do not divide the channels that a layer gives.

    Raises:
        SpecError: naming both.
    """
    if groups < 1 or out % groups:
        raise SpecError(f"model: layer {name}: groups = {groups} does not divide its {out} channels; correct it")


def check_given(name: str, kind: str, of: Shape, axes: int, groups: int = 1) -> Shape:
    """Return the places of rows that have so many axes of them.

    Raises:
        SpecError: they have others, or the groups do not divide their channels.
    """
    if len(of) != axes + 1:
        wanted = ("length", "channels") if axes == 1 else ("height", "width", "channels")
        raise SpecError(
            f"model: layer {name} ({kind}) takes rows of shape ({', '.join(wanted)}), and is given rows of shape "
            f"{list(of)}; put a reshape layer before it"
        )
    if of[-1] % groups:
        raise SpecError(f"model: layer {name} ({kind}): groups = {groups} does not divide the {of[-1]} channels below")
    return of[:-1]


def kernel_matrix(kernel: tuple[int, ...], below: int, out: int, groups: int) -> Matrix:
    """Return the matrix of a kernel: places first, then the channels below that a column reads at each.

    Where every channel reads one below, the two are tied; other groups have their own rows per column.
    """
    places, own, each = math.prod(kernel), below // groups, out // groups

    def reads() -> Index:
        if own == each == 1 and groups > 1:
            return np.arange(out, dtype=np.int64)[None]
        inside = (np.arange(places * own, dtype=np.int64) % own)[:, None]
        return inside if groups == 1 else inside + np.arange(out, dtype=np.int64) // each * own

    return Matrix(fan_in=places * own, columns=out, below=below, units=out, reads_of=reads)


def in_words(numbers: tuple[int, ...]) -> str:
    """Return numbers per axis, as "3x3"."""
    return "x".join(map(str, numbers))


def by_blocks(compute: Callable[[Values], Values], x: Values, width: int) -> Values:
    """Return what ``compute`` gives of rows ``[N, ...]``, some at a time, each of which takes ``width`` values."""
    rows = max(BLOCK_VALUES // max(width, 1), 1)
    if len(x) <= rows:
        return compute(x)
    return np.concatenate([compute(x[first : first + rows]) for first in range(0, len(x), rows)])
