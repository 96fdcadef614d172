"""Files of rows, read by the format that their first bytes or their ending say."""

from __future__ import annotations

import io
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from aecompress.data.base import WHOLE, Array, Part
from aecompress.data.file_rows import FileRows
from aecompress.data.sources.packed import ZIP, members_of, only_member, seekable, unpack
from aecompress.data.sources.refused import check_known
from aecompress.data.sources.text import CONTROLS
from aecompress.data.table import Table, plain
from aecompress.errors import DataError
from aecompress.registry import COMPRESSED, FORMATS, FormatRow, listed


def file_and_key(source: str, directory: Path = Path()) -> tuple[Path, str]:
    """Split ``FILE[:key]`` into a path below ``directory`` and a key.

    A colon inside an existing path belongs to the path.
    """
    if (directory / source).exists() or ":" not in source:
        return directory / source, ""
    file, _, key = source.rpartition(":")
    return directory / file, key


def format_of(path: Path) -> FormatRow | None:
    """Return the format of a file by its ending, in capitals or not, compressed or not; None where it is none."""
    return by_ending(path.name)


def by_ending(name: str) -> FormatRow | None:
    """Return the format that the ending of a name says; None where it says none."""
    name = name.lower()
    while name.endswith(COMPRESSED):
        name = name[: name.rindex(".")]
    return next((form for ending, form in FORMATS.items() if name.endswith(ending)), None)


def misnamed(form: FormatRow, head: bytes) -> bool:
    """Return whether a file does not begin as all files of its ending do."""
    return bool(form.magic) and not head.startswith(form.magic)


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of lines of text."""
    return not any(byte in CONTROLS for byte in head) and head.decode("utf-8", "ignore").strip() != ""


def by_content(head: bytes) -> FormatRow | None:
    """Return the format that the first bytes of a file say; None where they say none."""
    return next((form for form in FORMATS.values() if form.magic and head.startswith(form.magic)), None)


def read_array(path: Path, part: Part = WHOLE) -> Array:
    """Read ``part`` of a file as numbers, ``[N, ...]``.

    Raises:
        DataError: as :func:`read_rows_of` does, or it is a table with more than numbers.
    """
    return np.asarray(plain(str(path), read_rows_of(path, part)))


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
    if form is not None and form.opens and not part.columns and path.is_file() and (form.keys or not part.key):
        opener = pkgutil.resolve_name(form.opens)
        rows = cast(FileRows | None, opener(path, part.key) if form.keys else opener(path))
        if rows is not None:
            return rows
    return read_rows_of(path, part)


def read_rows_of(path: Path, part: Part = WHOLE) -> Array | Table:
    """Read ``part`` of a file: rows ``[N, ...]`` or a table.

    Raises:
        DataError: it is missing, damaged, of no format that is known, or has no such part.
    """
    with opened(path) as file:
        return read_stream(str(path), file, part, path.name)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file of rows.

    Raises:
        DataError: it is not there, no file, or cannot be read.
    """
    if not path.is_file():
        if format_of(path) is None and not path.exists():
            raise DataError(f"{path}: not a file of rows; name a {listed(FORMATS)} file")
        raise DataError(f"{path}: no such file; check the path")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); check its permissions") from fault


def read_stream(where: str, file: BinaryIO, part: Part = WHOLE, name: str = "") -> Array | Table:
    """Read ``part`` of a file or stream, compressed or not.

    Args:
        name: of the file, whose ending counts where its first bytes say nothing; empty: lines of text then.

    Raises:
        DataError: it is damaged, of no format that is known, or has no such part.
    """
    with ExitStack() as stack:
        form, content = recognised(where, file, part, name, stack)
        return cast(Array | Table, pkgutil.resolve_name(form.parse)(where, content, part))


def tables_of(path: Path, part: Part = WHOLE) -> Iterator[Table]:
    """Return the rows of a table block by block; the columns of the last one hold for all.

    Raises:
        DataError: as :func:`read_rows_of` raises it, or it is no table.
    """
    with opened(path) as file, ExitStack() as stack:
        form, content = recognised(str(path), file, part, path.name, stack)
        if not form.blocks:
            table = pkgutil.resolve_name(form.parse)(str(path), content, part)
            if not isinstance(table, Table):
                raise DataError(f"{path}: holds an array; it is no table")
            yield table
        else:
            yield from pkgutil.resolve_name(form.blocks)(str(path), content, part)


def recognised(
    where: str, file: BinaryIO, part: Part, name: str, stack: ExitStack
) -> tuple[FormatRow, io.BufferedReader]:
    """Return the format of a file, and its content, unpacked; what that needs is closed by ``stack``.

    Raises:
        DataError: it is of no format that is known, or has no such part.
    """
    content = unpack(where, file)
    head = content.peek(1 << 10)
    check_known(where, name, head)
    form = by_content(head) or by_ending(name)
    if head and (form is None or (form is FORMATS[".raw"] and not part.key) or misnamed(form, head)) and is_text(head):
        form = FORMATS[".csv"]
    if head.startswith(ZIP):
        content = seekable(content, stack)
        form, content = _zipped(where, content, None if name.lower().endswith(".zip") else form, stack)
        head = content.peek(1 << 10)
        form = by_content(head) or form
    if form is None and not name:
        form = FORMATS[".csv"]
    if form is None:
        raise DataError(f"{where}: not a file of rows; name a {listed(FORMATS)} file")
    if part.key and not form.keys:
        raise DataError(f"{where}: holds one array, so leave out the key {part.key!r:.200}")
    if part.columns and not form.columns:
        raise DataError(f"{where}: has no named columns, so leave out data.columns (--columns) = {part.columns!r:.200}")
    return form, seekable(content, stack) if form.seeks else content


def _zipped(
    where: str, content: io.BufferedReader, form: FormatRow | None, stack: ExitStack
) -> tuple[FormatRow | None, io.BufferedReader]:
    """Return the format and content of a zip archive: itself, as ``.npz`` and ``.pt`` files are, or its one file."""
    if form is not None and form.keys and form in (FORMATS[".npz"], FORMATS[".pt"]):
        return form, content
    members = members_of(where, content)
    names = [member.filename for member in members]
    if any(name.endswith(".npy") for name in names):
        return FORMATS[".npz"], content
    if any(name.endswith("data.pkl") for name in names):
        return FORMATS[".pt"], content
    if "[Content_Types].xml" in names:
        check_known(where, "rows.xlsx", b"")
    inner = only_member(where, content, members, stack)
    return by_ending(names[0]) or form, unpack(where, inner)
