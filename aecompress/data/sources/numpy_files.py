"""NumPy files: one array in ``.npy``, arrays by name in ``.npz``."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Array, Part
from aecompress.data.file_rows import CAN_READ_AT, FileRows
from aecompress.data.sources.limits import called, check_fits, check_numbers
from aecompress.data.sources.packed import check_ratio
from aecompress.data.table import Column, Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

MAGIC = b"\x93NUMPY"
PIECE = 1 << 20
"""Bytes that are read at once."""


def parse_numpy(where: str, file: BinaryIO, part: Part) -> Array | Table:
    """Return the array of an ``.npy``, or array ``part.key`` of an ``.npz``; pickled objects are refused.

    Several arrays in one ``.npy``, one after the other, are rows one after the other.

    Raises:
        DataError: truncated, of another kind, too large, or without that key.
    """
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
    try:
        if buffered.peek(2).startswith(b"PK"):
            with zipfile.ZipFile(buffered) as archive:
                return sparse_of(where, archive) if is_sparse(archive, part.key) else one_of(where, archive, part.key)
        size = size_of(buffered)
        arrays = [read_npy(where, buffered, size)]
        while rest := buffered.peek(len(MAGIC)):
            if not rest.startswith(MAGIC):
                raise ValueError("more bytes follow its array")
            arrays.append(read_npy(where, buffered, size))
        return chained(where, arrays)
    except DataError:
        raise
    except Exception as fault:  # a damaged file makes NumPy, zipfile and zlib raise a dozen unrelated classes
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        cure = "save plain numbers instead" if "objects" in reason else "write the file again"
        raise DataError(f"{where}: cannot be read as a NumPy array ({quoted(reason)}); {cure}") from fault


def open_npy(path: Path) -> FileRows | None:
    """Return the rows of an ``.npy`` that lie in its file as they would in memory, which are then read when needed.

    None where they do not, and where the file is damaged or holds no rows of numbers: :func:`parse_numpy` says why.
    """
    if not CAN_READ_AT:
        return None
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = read_header(file)
            offset = file.seek(0, os.SEEK_CUR)
        plain = dtype.kind in "buif" and dtype.itemsize <= 8
        if fortran or not plain or len(shape) < 2 or min(shape) < 1:
            return None
        rows = FileRows.of(path, offset, shape, dtype)
    except Exception:  # a damaged file makes NumPy raise a dozen unrelated classes
        return None
    return rows if rows.handle.size == offset + len(rows) * rows.width else None


def chained(where: str, arrays: list[Array]) -> Array | Table:
    """Return arrays as one, the rows of one after the other's; one of structures as a table.

    Raises:
        DataError: their rows differ in shape or type.
    """
    first = arrays[0]
    for place, array in enumerate(arrays[1:], start=2):
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype or not array.ndim:
            raise DataError(
                f"{where}: holds {len(arrays)} arrays; rows of number {place} have shape {array.shape[1:]} and type "
                f"{array.dtype}, those of the first {first.shape[1:]} and {first.dtype}; give one array"
            )
    rows = np.concatenate(arrays) if len(arrays) > 1 else first
    return table_of_fields(where, rows) if rows.dtype.names else rows


def table_of_fields(where: str, rows: Array) -> Table:
    """Return an array of structures ``[N]`` as a table.

    Raises:
        DataError: a field holds something else than numbers, texts or dates.
    """
    fields = cast(Any, rows)  # whose items are chosen by name
    names = rows.dtype.names or ()
    columns, cells = [], np.empty((rows.size, len(names)))
    for place, name in enumerate(names):
        if fields[name].ndim != rows.ndim:
            raise DataError(f"{where}: field {quoted(repr(name))} has several values in a row; give an array of them")
        columns.append(_field(where, name, fields[name].reshape(-1), cells[:, place]))
    return Table(cells=cells, columns=tuple(columns))


def _field(where: str, name: str, values: NDArray[Any], into: NDArray[np.float64]) -> Column:
    """Write the values of a field ``[N]`` into ``into``, and return its column."""
    if values.dtype.kind == "M":
        gone = np.isnat(values)
        into[:] = np.where(gone, np.nan, values.astype("M8[us]").astype(np.int64) / 1e6)
        return Column(name=name, holds="date")
    if values.dtype.kind in "SU":
        found: dict[str, int] = {}
        texts = (value.decode("latin-1") if isinstance(value, bytes) else value for value in values.tolist())
        into[:] = [found.setdefault(text, len(found)) for text in texts]
        return Column(name=name, holds="text", texts=tuple(found))
    check_numbers(where, values.dtype)
    into[:] = values
    return Column(name=name, holds="boolean" if values.dtype.kind == "b" else "number")


def is_sparse(archive: zipfile.ZipFile, key: str) -> bool:
    """Return whether an archive is what ``scipy.sparse.save_npz`` writes."""
    return not key and {"format.npy", "shape.npy", "data.npy"} <= set(archive.namelist())


def sparse_of(where: str, archive: zipfile.ZipFile) -> Array:
    """Return the matrix of an archive of scipy, dense: ``[N, D]``, where the memory holds that.

    Raises:
        DataError: it does not, or the file is damaged.
    """
    from scipy.sparse import load_npz

    shape = cast(NDArray[np.int64], one_of(where, archive, "shape").reshape(-1))
    values = one_of(where, archive, "data")
    if shape.dtype.kind not in "ui" or len(shape) != 2 or (shape < 0).any() or not values.ndim:
        raise ValueError("it is no matrix")
    check_fits(where, int(shape[0]) * int(shape[1]), values.dtype.itemsize)
    if archive.fp is None:
        raise ValueError("it is closed")
    archive.fp.seek(0)
    matrix = load_npz(archive.fp)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # places outside it would be written to any memory
    return cast(Array, matrix.toarray())


def size_of(file: io.BufferedReader) -> int | None:
    """Return the bytes of a file; None for a stream."""
    if not file.seekable():
        return None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type of an ``.npy`` from its header.

    Raises:
        ValueError, EOFError: it is damaged.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its version is {version}")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    return shape, fortran, dtype


def read_npy(where: str, file: IO[bytes], size: int | None) -> Array:
    """Read an ``.npy`` of ``size`` bytes straight into its array.

    Raises:
        DataError: it takes more memory than there is.
        ValueError, EOFError: it is damaged, or holds objects.
    """
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds objects")
    if any(length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    if not dtype.names:
        check_numbers(where, dtype)
    needed = math.prod(shape) * dtype.itemsize
    if size is not None and needed > size:
        raise EOFError(f"shape {shape} needs {needed} bytes, it has {size}")
    kept = np.dtype(np.float64) if dtype.itemsize > 8 and not dtype.names else dtype  # long doubles
    check_fits(where, math.prod(shape), kept.itemsize)
    rows = np.empty(shape, kept)
    if needed and (fortran or kept is not dtype):
        fill_through(file, rows.T if fortran else rows, dtype)
    elif needed:
        fill(file, rows.reshape(-1).view(np.uint8).data)
    return rows


def fill(file: IO[bytes], target: memoryview) -> None:
    """Read as many bytes as ``target`` has.

    Raises:
        EOFError: there are fewer.
    """
    done = 0
    while done < len(target):
        piece = file.read(min(PIECE, len(target) - done))
        if not piece:
            raise EOFError(f"it ends {len(target) - done} bytes early")
        target[done : done + len(piece)] = piece
        done += len(piece)


def fill_through(file: IO[bytes], target: Array, dtype: np.dtype[Any]) -> None:
    """Read values of type ``dtype`` into ``target``, in its order of indices whatever its memory is, piece by piece.

    Raises:
        EOFError: there are fewer.
    """
    each = max(1, math.prod(target.shape[1:]))
    step = max(1, PIECE // (each * dtype.itemsize))
    for start in range(0, len(target), step):
        part = target[start : start + step]
        piece = np.empty(part.shape, dtype)
        fill(file, piece.reshape(-1).view(np.uint8).data)
        with np.errstate(over="ignore"):  # infinities are refused by name
            part[...] = piece


def one_of(where: str, archive: zipfile.ZipFile, key: str) -> Array:
    """Return array ``key`` of an archive; without a key, the only one.

    Raises:
        DataError: there is no such array, it is not an array, or the memory does not hold it.
    """
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    names = called(*members)
    if not members:
        raise DataError(f"{where}: holds no arrays; save one in it")
    if not key and len(members) != 1:
        raise DataError(f"{where}: holds {names}; choose one, as in {where}:{called(next(iter(members)))}")
    if key and key not in members:
        raise DataError(f"{where}: has no array {key!r:.200}; it holds {names}")
    member = members[key or next(iter(members))]
    check_ratio(where, member.compress_size, member.file_size)
    with archive.open(member) as file:
        if not member.filename.endswith(".npy"):
            raise DataError(f"{where}: {quoted(repr(member.filename))} is not an array; choose another key")
        return read_npy(where, file, member.file_size)
