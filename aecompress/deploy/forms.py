"""One tensor in few bytes: which values are stored and where they are, and the tensor that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.grid import Grid, grid_of

DENSE = -1
"""Instead of the low bits of a gap: no places, because all elements are stored."""
MOST_LOW = 16
"""Most low bits that a gap has; 0 is one bit per element."""
FORM_BYTES = {"float32": 40, "float16": 90, "int8": 150, "codes": 240}
"""About what the operators of one tensor take, by how its values are stored."""
DIGIT_BYTES = 130
"""About what they take more for each further digit of its codes."""


class Packed(NamedTuple):
    """A tensor in few bytes."""

    shape: tuple[int, ...]
    values: str
    """float32, float16, int8 or codes."""
    stored: NDArray[Any]
    """The values, or their codes."""
    places: NDArray[np.int64]
    """Where they are in the flat tensor, rising."""
    low: int
    """Low bits of a gap; 0: one bit per element; :data:`DENSE`."""
    grid: Grid | None = None
    """Of int8 and codes."""

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return int(np.prod(self.shape))

    @property
    def code_bits(self) -> int:
        """Return the bits of a stored value."""
        return self.grid.bits if self.values == "codes" and self.grid else self.stored.itemsize * 8

    @property
    def bytes(self) -> int:
        """Return about what it takes in a file, apart from the operators that tensors of the same low bits share."""
        places = 0 if self.low == DENSE else place_bits(self.places, self.size, (self.low,))[self.low]
        return self.value_bytes + -(-places // 8)

    @property
    def value_bytes(self) -> int:
        """Return the part of :attr:`bytes` that places do not take."""
        beside = 0
        if self.grid is not None:
            beside = self.grid.scale.nbytes
        if self.grid is not None and self.values == "codes":
            beside += len(self.grid.levels) * 2 + DIGIT_BYTES * (len(digits_of(self.code_bits)) - 1)
        return -(-len(self.stored) * self.code_bits // 8) + beside + FORM_BYTES[self.values]


def encode(tensor: Floats, values: str, low: int, grid: Grid | None = None) -> Packed:
    """Pack ``tensor`` with its values as ``values``, on ``grid``, and its non-zero places by ``low``."""
    grid = grid or grid_of(tensor, values)
    kept, flat = tensor != 0, tensor.reshape(-1)
    codes = np.zeros(0, np.int64)
    if grid is not None:
        codes = grid.codes(tensor)
        kept &= grid.levels[codes] != 0  # what rounds to zero needs no place
    places = np.arange(tensor.size) if low == DENSE else np.flatnonzero(kept)
    if not len(places):
        return Packed(tensor.shape, "float32", np.zeros(1, np.float32), np.zeros(1, np.int64), low)
    if grid is None:
        with np.errstate(over="ignore"):
            return Packed(tensor.shape, values, flat[places].astype(values), places, low)
    found = codes.reshape(-1)[places]
    if grid.whole:
        return Packed(tensor.shape, "int8", grid.levels[found].astype(np.int8), places, low, grid)
    return Packed(tensor.shape, "codes", found.astype(np.uint8), places, low, grid)


def decode(packed: Packed) -> Floats:
    """Return the tensor that a packed form stands for."""
    flat = np.zeros(packed.size, np.float32)
    stored = packed.stored
    if packed.values == "codes" and packed.grid is not None:
        stored = packed.grid.levels[stored]
    flat[packed.places] = stored
    scale = np.float32(1) if packed.grid is None else packed.grid.scale.astype(np.float32)
    return np.asarray(flat.reshape(packed.shape) * scale, np.float32)


def ones_of(places: NDArray[np.int64], low: int) -> NDArray[np.uint8]:
    """Return rising places as a stream of bits: each value ends with a one, after a zero for each 2**low of its gap."""
    ends = np.cumsum((gaps_of(places) >> low) + 1) - 1
    found = np.zeros(int(ends[-1]) + 1, np.uint8)
    found[ends] = 1
    return found


def gaps_of(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many elements are passed over before each of the rising places."""
    return np.diff(places, prepend=-1) - 1


def place_bits(places: NDArray[np.int64], size: int, lows: Iterable[int]) -> dict[int, int]:
    """Return the bits that rising places take by low bits: one per element, or a Golomb-Rice code of each gap."""
    gaps = gaps_of(places)
    return {low: len(places) * (low + 1) + int((gaps >> low).sum()) if low else size for low in lows}


def useful_lows(places: NDArray[np.int64], size: int) -> range:
    """Return the low bits that may be the best for these places, or nearly so."""
    return range(min((size // len(places)).bit_length() + 1, MOST_LOW) + 1)


def digits_of(width: int) -> list[tuple[int, int]]:
    """Return the digits of numbers of ``width`` bits: the bits of each, four or one, and those below it."""
    half_bytes = [(4, shift) for shift in range(0, width - 3, 4)]
    return half_bytes + [(1, shift) for shift in range(4 * len(half_bytes), width)]
