"""MATLAB files of version 5 to 7.2: dense arrays of numbers.

Written for files of others: scipy's reader ends the process on some damaged ones. The layout is that of "MAT-File
Format" of MathWorks: elements of type, size and data; a matrix holds flags, dimensions, name and values as elements.
"""

from __future__ import annotations

import math
import os
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.sources.limits import check_fits
from aecompress.data.sources.packed import check_ratio
from aecompress.data.sources.tensors import chosen, parse_hdf5
from aecompress.errors import DataError
from aecompress.parsing import quoted

VALUES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of values by the number of their element."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Types of dense arrays by the number of their class; a value may lie in the file as a smaller type."""
MATRIX, PACKED = 14, 15
COMPLEX, LOGICAL = 0x0800, 0x0200
HEAD = 1 << 12
"""Bytes in which flags, dimensions and name of a matrix lie."""

Order = Literal["little", "big"]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A matrix in a file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    flags: int
    place: int
    """Where the data of its element begin."""
    size: int
    packed: bool
    values: int
    """Where its values begin in these, unpacked."""


def parse_matlab(where: str, file: BinaryIO, part: Part) -> Array:
    """Return a variable of a MATLAB file.

    Raises:
        DataError: damaged, too large, or without that variable.
    """
    head = file.read(520)
    file.seek(0)
    if b"\x89HDF" in (head[:4], head[512:516]):
        return np.ascontiguousarray(parse_hdf5(where, file, part).T)  # MATLAB writes the last axis first
    try:
        if head[126:128] not in (b"IM", b"MI"):
            raise ValueError("it has no mark of version 5")
        order: Order = "little" if head[126:128] == b"IM" else "big"
        found = {one.name: one for one in variables(file, order) if one.kind in CLASSES}
        one = found[chosen(where, part.key, {name: each.shape for name, each in found.items()})]
        return read_variable(where, file, order, one)
    except (ValueError, IndexError, zlib.error, OverflowError) as fault:
        raise DataError(f"{where}: cannot be read as MATLAB ({quoted(fault)}); save it again, by save -v7") from fault


def variables(file: BinaryIO, order: Order) -> list[Variable]:
    """Return the matrices of a file from their headers.

    Raises:
        ValueError: it is damaged.
    """
    end, place, found = file.seek(0, os.SEEK_END), 128, []
    while place < end:
        file.seek(place)
        tag = file.read(8)
        kind, size = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
        if len(tag) < 8 or kind not in (MATRIX, PACKED) or place + 8 + size > end:
            raise ValueError(f"byte {place} begins no matrix")
        start = file.read(min(size, HEAD))
        if kind == PACKED:
            start = zlib.decompressobj().decompress(start, HEAD)
            if int.from_bytes(start[:4], order) != MATRIX:
                raise ValueError(f"byte {place} packs no matrix")
            start = start[8:]
        if start:
            found.append(_described(start, order, place + 8, size, kind == PACKED))
        place += 8 + size
    return found


def _described(start: bytes, order: Order, place: int, size: int, packed: bool) -> Variable:
    _, flags, after = element(start, 0, order)
    about = int.from_bytes(flags[:4], order)
    _, axes, after = element(start, after, order)
    _, name, after = element(start, after, order)
    shape = tuple(int(axis) for axis in np.frombuffer(axes, "<i4" if order == "little" else ">i4"))
    if len(flags) != 8 or len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"the matrix in byte {place} has shape {shape}")
    return Variable(
        name=name.decode("latin-1"),
        shape=shape,
        kind=about & 0xFF,
        flags=about,
        place=place,
        size=size,
        packed=packed,
        values=after,
    )


def element(content: bytes, place: int, order: Order) -> tuple[int, bytes, int]:
    """Return type and data of the element in ``place``, and where the next one begins.

    Raises:
        ValueError: it does not fit into ``content``.
    """
    kind = int.from_bytes(content[place : place + 4], order)
    if kind >> 16:  # a small one, whose four bytes at most stand beside its type
        size, start, after = kind >> 16, place + 4, place + 8
        kind &= 0xFFFF
        fits = size <= 4
    else:
        size, start = int.from_bytes(content[place + 4 : place + 8], order), place + 8
        after, fits = start + -(-size // 8) * 8, True
    if not fits or start + size > len(content):
        raise ValueError(f"an element of {size} bytes does not fit")
    return kind, content[start : start + size], after


def read_variable(where: str, file: BinaryIO, order: Order, one: Variable) -> Array:
    """Return the values of a matrix.

    Raises:
        DataError: the memory does not hold them, or they are complex.
        ValueError: it is damaged.
    """
    if one.flags & COMPLEX:
        raise DataError(f"{where}: {quoted(repr(one.name))} holds complex numbers; save real and imaginary parts")
    count = math.prod(one.shape)
    check_fits(where, count, 8)
    if one.packed:
        check_ratio(where, one.size, count)
    file.seek(one.place)
    content = file.read(one.size)
    if one.packed:
        content = zlib.decompressobj().decompress(content, HEAD + 8 * count)[8:]
    kind, data, _ = element(content, one.values, order)
    if kind not in VALUES:
        raise ValueError(f"values of type {kind} are no numbers")
    values = np.frombuffer(data, np.dtype(VALUES[kind]).newbyteorder("<" if order == "little" else ">"))
    if values.size != count:
        raise ValueError(f"{values.size} values do not have shape {one.shape}")
    kept = np.dtype(bool if one.flags & LOGICAL else CLASSES[one.kind])
    with np.errstate(invalid="ignore"):  # of damaged values
        return np.ascontiguousarray(values.astype(kept).reshape(one.shape, order="F"))
