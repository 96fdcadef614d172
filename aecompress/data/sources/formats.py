"""Formats of files of rows, by their ending. A new one is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aecompress.data.base import WHOLE, Array, Part
from aecompress.data.sources.csv_files import parse_csv
from aecompress.data.sources.numpy_files import parse_numpy
from aecompress.errors import DataError
from aecompress.registry import listed


@dataclass(frozen=True)
class Format:
    """A format of files."""

    parse: Callable[[str, BinaryIO, Part], Array]
    """(name for messages, file, what to take) -> rows ``[N, ...]``; raises DataError that begins with the name."""
    keys: bool = False
    """A file holds several arrays, one of which a key chooses."""
    columns: bool = False
    """Columns can be chosen."""


FORMATS: dict[str, Format] = {
    ".npy": Format(parse_numpy),
    ".npz": Format(parse_numpy, keys=True),
    ".csv": Format(parse_csv, columns=True),
    ".csv.gz": Format(parse_csv, columns=True),
}
"""Formats by the ending of a file's name."""


def file_and_key(source: str, directory: Path = Path()) -> tuple[Path, str]:
    """Split ``FILE[:key]`` into a path below ``directory`` and a key.

    A colon inside an existing path belongs to the path.
    """
    if (directory / source).exists() or ":" not in source:
        return directory / source, ""
    file, _, key = source.rpartition(":")
    return directory / file, key


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its ending; None where it is none of ours."""
    return next((form for ending, form in FORMATS.items() if path.name.endswith(ending)), None)


def read_array(path: Path, part: Part = WHOLE) -> Array:
    """Read ``part`` of a file whose ending is in :data:`FORMATS`: ``[N, ...]``.

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
            return form.parse(str(path), file, part)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check its permissions") from fault
