"""Where rows come from: sources by name, files by their ending, as the registry lists them."""

from __future__ import annotations

import pkgutil
from typing import Any, cast

from aecompress.data.arrays import ROWS
from aecompress.data.base import Array, Raw, Request
from aecompress.data.file_rows import FileRows
from aecompress.data.kinds import Kind
from aecompress.data.sources.formats import file_and_key, format_of, open_rows_of
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.registry import FILE, FORMATS, SOURCES, find_source, listed


def kind_of(source: str) -> Kind[Any, Any]:
    """Return the kind of the data of ``source``."""
    row = find_source(source)
    return cast(Kind[Any, Any], pkgutil.resolve_name(row.kind)) if row is not None else ROWS


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
        return cast(Raw[Any], pkgutil.resolve_name(row.read)(request))
    path, key = file_and_key(request.source, request.directory)
    if format_of(path) is None:
        names = ", ".join(row.usage for row in SOURCES.values() if row.usage != "-")
        raise DataError(f"{path}: not a data source; name a {listed(FORMATS)} file, {names}, or -")
    part = request.part._replace(key=key or request.key)
    return raw_of(path.name.partition(".")[0], open_rows_of(path, part))


def raw_of(name: str, rows: Array | Table | FileRows) -> Raw[Array | Table | FileRows]:
    """Return rows as read, with the names of their columns."""
    return Raw(name=name, train=rows, inputs=rows.names if isinstance(rows, Table) and rows.named else ())
