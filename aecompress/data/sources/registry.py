"""Where rows come from: sources by name, files by their ending, as the registry lists them."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any, cast

from aecompress.data.arrays import ROWS
from aecompress.data.base import Raw, Request
from aecompress.data.kinds import Kind
from aecompress.data.sources.formats import format_of
from aecompress.data.sources.many import Found, files_of, read_many
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
    found = found_of(request)
    for one in found:
        if format_of(one.path) is None and not one.path.exists():
            names = ", ".join(row.usage for row in SOURCES.values() if row.usage != "-")
            raise DataError(f"{one.path}: not a data source; name a {listed(FORMATS)} file, {names}, or -")
    rows, counts = read_many(request.source, found, request.part)
    files = [(str(one.path), count) for one, count in zip(found, counts, strict=False)]
    return Raw(
        name=name_of(request.source),
        train=rows,
        inputs=rows.names if isinstance(rows, Table) and rows.named else (),
        files=tuple(files) if len(counts) > 1 else (),
    )


def found_of(request: Request) -> list[Found]:
    """Return the files that a request reads for its source, in their order.

    Raises:
        DataError: a pattern or folder has none, or a further source is no file.
    """
    for source in request.more:
        if find_source(source) is not None:
            raise DataError(f"{source}: is no file, and cannot be read with others; leave it out")
    return [one for source in (request.source, *request.more) for one in files_of(source, request.directory)]


def name_of(source: str) -> str:
    """Return what rows are called: their file without endings, or the folder of a pattern."""
    path = Path(source)
    name = path.name.partition(".")[0]
    return name if name and not any(sign in name for sign in "*?[") else path.resolve().parent.name or "rows"
