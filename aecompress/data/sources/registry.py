"""Where rows come from: files by their ending, and sources by name. A new format is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aecompress.data.base import WHOLE, Array, Part, Raw, Request
from aecompress.data.sources.clusters import read_clusters
from aecompress.data.sources.csv_files import parse_csv
from aecompress.data.sources.digits import read_digits
from aecompress.data.sources.interactions import read_interactions
from aecompress.data.sources.numpy_files import parse_numpy
from aecompress.data.sources.stdin import read_stdin
from aecompress.errors import DataError


@dataclass(frozen=True)
class Format:
    """A format of files."""

    parse: Callable[[str, BinaryIO, Part], Array]
    """(name for messages, file, what to take) -> rows ``[N, ...]``; raises DataError that begins with the name."""
    keys: bool = False
    """A file holds several arrays, one of which a key chooses."""
    columns: bool = False
    """Columns can be chosen."""


@dataclass(frozen=True)
class Source:
    """A source that is named instead of being a file of a known ending."""

    usage: str
    """How it is written; what follows its first colon is its argument."""
    read: Callable[[Request], Raw[Any]]
    """Raises DataError that begins with the source."""
    kind: str = "rows"
    """A row of :data:`aecompress.data.kinds.KINDS`."""


FORMATS: dict[str, Format] = {
    ".npy": Format(parse_numpy),
    ".npz": Format(parse_numpy, keys=True),
    ".csv": Format(parse_csv, columns=True),
    ".csv.gz": Format(parse_csv, columns=True),
}
"""Formats by the ending of a file's name."""

SOURCES: dict[str, Source] = {
    "digits": Source("digits", read_digits),
    "binary-clusters": Source("binary-clusters:CxRxD", read_clusters),
    "interactions": Source("interactions:FILE", read_interactions, kind="interactions"),
    "-": Source("-", read_stdin),
}
"""Sources by name."""


def find_source(source: str) -> Source | None:
    """Return the row of a source that is named; None where ``source`` is a file."""
    name, colon, _ = source.partition(":")
    row = SOURCES.get(name)
    return row if row is not None and (not colon or ":" in row.usage) else None


def kind_of(source: str) -> str:
    """Return which row of :data:`aecompress.data.kinds.KINDS` the data of ``source`` are."""
    row = find_source(source)
    return row.kind if row is not None else "rows"


def read(request: Request) -> Raw[Any]:
    """Read the rows of ``request.source``.

    Raises:
        DataError: the rows cannot be read.
    """
    row = find_source(request.source)
    if row is not None:
        return row.read(request)
    path, key = file_and_key(request.source, request.directory)
    return Raw(name=path.name.partition(".")[0], train=read_array(path, request.part._replace(key=key or request.key)))


def file_and_key(source: str, directory: Path = Path()) -> tuple[Path, str]:
    """Split ``FILE[:key]`` into a path below ``directory`` and a key.

    A colon inside an existing path belongs to the path.
    """
    if (directory / source).exists() or ":" not in source:
        return directory / source, ""
    file, _, key = source.rpartition(":")
    return directory / file, key


def read_array(path: Path, part: Part = WHOLE) -> Array:
    """Read ``part`` of a file whose ending is in :data:`FORMATS`: ``[N, ...]``.

    Raises:
        DataError: it is missing, damaged, of another format, or has no such part.
    """
    form = next((form for ending, form in FORMATS.items() if path.name.endswith(ending)), None)
    if form is None:
        *endings, last = FORMATS
        names = ", ".join(row.usage for row in SOURCES.values() if row.usage != "-")
        raise DataError(f"{path}: not a data source; name a {', '.join(endings)} or {last} file, {names}, or -")
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
