"""Files of rows, read by the format of their ending."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import cast

import numpy as np

from aecompress.data.base import WHOLE, Array, Part
from aecompress.data.file_rows import FileRows
from aecompress.data.table import Table, plain
from aecompress.errors import DataError
from aecompress.registry import FORMATS, FormatRow, listed


def file_and_key(source: str, directory: Path = Path()) -> tuple[Path, str]:
    """Split ``FILE[:key]`` into a path below ``directory`` and a key.

    A colon inside an existing path belongs to the path.
    """
    if (directory / source).exists() or ":" not in source:
        return directory / source, ""
    file, _, key = source.rpartition(":")
    return directory / file, key


def format_of(path: Path) -> FormatRow | None:
    """Return the format of a file by its ending; None where it is none of ours."""
    return next((form for ending, form in FORMATS.items() if path.name.endswith(ending)), None)


def read_array(path: Path, part: Part = WHOLE) -> Array:
    """Read ``part`` of a file as numbers, ``[N, ...]``.

    Raises:
        DataError: as :func:`read_rows_of` does, or it is a table with more than numbers.
    """
    return np.asarray(plain(str(path), read_rows_of(path, part)))


def read_rows_of(path: Path, part: Part = WHOLE) -> Array | Table:
    """Read ``part`` of a file whose ending is in :data:`~aecompress.registry.FORMATS`: rows ``[N, ...]`` or a table.

    Raises:
        DataError: it is missing, damaged, of another format, or has no such part.
    """
    form = format_of(path)
    if form is None:
        raise DataError(f"{path}: not a file of rows; name a {listed(FORMATS)} file")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if part.key and not form.keys:
        raise DataError(f"{path}: holds one array, so leave out the key {part.key!r:.200}")
    if part.columns and not form.columns:
        raise DataError(f"{path}: has no named columns, so leave out data.columns (--columns) = {part.columns!r:.200}")
    try:
        with path.open("rb") as file:
            return cast(Array | Table, pkgutil.resolve_name(form.parse)(str(path), file, part))
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check its permissions") from fault


def open_array(path: Path, part: Part = WHOLE) -> Array | FileRows:
    """Return what :func:`read_array` reads, not read yet where the file is laid out as its rows are in memory.

    Raises:
        DataError: as :func:`read_array` raises it.
    """
    return plain(str(path), open_rows_of(path, part))


def open_rows_of(path: Path, part: Part = WHOLE) -> Array | Table | FileRows:
    """Return what :func:`read_rows_of` reads, not read yet where the file is laid out as its rows are in memory.

    Raises:
        DataError: as :func:`read_rows_of` raises it.
    """
    form = format_of(path)
    if form is not None and form.opens and not part.key and not part.columns and path.is_file():
        rows = cast(FileRows | None, pkgutil.resolve_name(form.opens)(path))
        if rows is not None:
            return rows
    return read_rows_of(path, part)
