"""Where rows come from: sources by name, files by their ending, as the registry lists them."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from aecompress.data.arrays import ROWS
from aecompress.data.base import Raw, Request
from aecompress.data.kinds import Kind
from aecompress.data.scaled_rows import MOST_MEMORY
from aecompress.data.sources.formats import format_of, tables_of
from aecompress.data.sources.many import Found, files_of, read_many
from aecompress.data.spilled import memory_of, spilled
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.machine import free_bytes
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
    rows, counts = converted(request, found) or read_many(request.source, found, request.part)
    files = [(str(one.path), count) for one, count in zip(found, counts, strict=False)]
    return Raw(
        name=name_of(request.source, request.directory),
        train=rows,
        inputs=rows.names if isinstance(rows, Table) and rows.named else (),
        files=tuple(files) if len(counts) > 1 else (),
    )


def converted(request: Request, found: Sequence[Found]) -> tuple[Table, list[int]] | None:
    """Return the rows of a table, left on the disk, where they are not to be in memory or would take much of it.

    Raises:
        DataError: they cannot be read or written.
    """
    path = found[0].path if found else Path()
    form = format_of(path)
    if len(found) != 1 or form is None or not form.blocks or request.in_memory == "yes" or not path.is_file():
        return None
    if request.in_memory == "auto" and memory_of(path) <= MOST_MEMORY * free_bytes():
        return None
    part = request.part._replace(key=found[0].key or request.key)
    table = spilled(str(path), tables_of(path, part), request.scratch, request.report)
    return table, [len(table)]


def found_of(request: Request) -> list[Found]:
    """Return the files that a request reads for its source, in their order.

    Raises:
        DataError: a pattern or folder has none, or a further source is no file.
    """
    for source in request.more:
        if find_source(source) is not None:
            raise DataError(f"{source}: is no file, and cannot be read with others; leave it out")
    return [one for source in (request.source, *request.more) for one in files_of(source, request.directory)]


def name_of(source: str, directory: Path) -> str:
    """Return what rows are called: their file without endings, or the folder of a pattern below ``directory``."""
    path = directory / source
    name = path.name.partition(".")[0]
    pattern = any(sign in name for sign in "*?[") and not path.exists()
    return name if name and not pattern else path.resolve().parent.name or "rows"
