"""Where rows come from: sources by name, files by their ending. A source is a row, and with it a kind of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aecompress.data.arrays import ROWS
from aecompress.data.base import Raw, Request
from aecompress.data.interactions import INTERACTIONS
from aecompress.data.kinds import Kind
from aecompress.data.sources.clusters import read_clusters
from aecompress.data.sources.digits import read_digits
from aecompress.data.sources.formats import FORMATS, file_and_key, format_of, read_array
from aecompress.data.sources.interactions import read_interactions
from aecompress.data.sources.stdin import read_stdin
from aecompress.errors import DataError
from aecompress.registry import listed

FILE = ":FILE"
"""How the usage of a source ends whose argument is a file."""


@dataclass(frozen=True)
class Source:
    """A source that is named instead of being a file of a known ending."""

    usage: str
    """How it is written; what follows its first colon is its argument."""
    read: Callable[[Request], Raw[Any]]
    """Raises DataError that begins with the source."""
    kind: Kind[Any, Any] = ROWS
    """What its rows are kept as, and what is done with them."""


SOURCES: dict[str, Source] = {
    "digits": Source("digits", read_digits),
    "binary-clusters": Source("binary-clusters:CxRxD", read_clusters),
    "interactions": Source("interactions" + FILE, read_interactions, INTERACTIONS),
    "-": Source("-", read_stdin),
}
"""Sources by name."""


def find_source(source: str) -> Source | None:
    """Return the row of a source that is named; None where ``source`` is a file."""
    name, colon, _ = source.partition(":")
    row = SOURCES.get(name)
    return row if row is not None and (not colon or ":" in row.usage) else None


def kind_of(source: str) -> Kind[Any, Any]:
    """Return the kind of the data of ``source``."""
    row = find_source(source)
    return row.kind if row is not None else ROWS


def file_of(source: str) -> str:
    """Return the ``FILE[:key]`` that is read for ``source``; of a source that is no file, its name."""
    row = find_source(source)
    return source.partition(":")[2] if row is not None and row.usage.endswith(FILE) else source


def read(request: Request) -> Raw[Any]:
    """Read the rows of ``request.source``.

    Raises:
        DataError: the rows cannot be read.
    """
    row = find_source(request.source)
    if row is not None:
        return row.read(request)
    path, key = file_and_key(request.source, request.directory)
    if format_of(path) is None:
        names = ", ".join(row.usage for row in SOURCES.values() if row.usage != "-")
        raise DataError(f"{path}: not a data source; name a {listed(FORMATS)} file, {names}, or -")
    return Raw(name=path.name.partition(".")[0], train=read_array(path, request.part._replace(key=key or request.key)))
