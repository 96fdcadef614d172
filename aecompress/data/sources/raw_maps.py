"""Raw memory maps: values of one type, row after row, without a header."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.file_rows import CAN_READ_AT, FileRows
from aecompress.data.sources.limits import check_fits
from aecompress.data.sources.numpy_files import fill
from aecompress.errors import DataError

LAYOUT = re.compile(r"([<>]?(?:u?int(?:8|16|32|64)|float(?:16|32|64)|bool|[uifb]\d))((?:,\d{1,9}){1,8})")
"""How the key of a raw file is written: the type of its values and the shape of a row."""


def layout_of(where: str, key: str, size: int) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """Return type and shape ``[N, ...]`` of a raw file of ``size`` bytes.

    Raises:
        DataError: the key is no layout, or the file is no whole number of such rows.
    """
    match = LAYOUT.fullmatch(key.replace(" ", ""))
    if match is None:
        raise DataError(
            f"{where}: is a raw file; say the type of its values and the shape of a row, as in {where}:float32,6"
        )
    dtype = np.dtype(match[1])
    row = tuple(int(axis) for axis in match[2][1:].split(","))
    width = math.prod(row) * dtype.itemsize
    if not width or size % width or not size:
        raise DataError(f"{where}: has {size} bytes, which are no whole rows of {key} ({width} bytes each)")
    return dtype, (size // width, *row)


def parse_raw(where: str, file: BinaryIO, part: Part) -> Array:
    """Return the rows of a raw file, whose layout is the key.

    Raises:
        DataError: there is no layout, or the file does not have it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    dtype, shape = layout_of(where, part.key, size)
    check_fits(where, math.prod(shape), dtype.itemsize)
    rows = np.empty(shape, dtype)
    fill(file, rows.reshape(-1).view(np.uint8).data)
    return rows


def open_raw(path: Path, key: str = "") -> FileRows | None:
    """Return the rows of a raw file, read when needed; None where it must be parsed."""
    if not CAN_READ_AT or LAYOUT.fullmatch(key) is None:
        return None
    dtype, shape = layout_of(str(path), key, path.stat().st_size)
    return FileRows.of(path, 0, shape, dtype)
