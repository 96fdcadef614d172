"""Several files as one: a list, a pattern, a folder of files or of images, a folder of Hugging Face datasets."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Array, Part
from aecompress.data.file_rows import FileRows
from aecompress.data.sources.formats import file_and_key, format_of, open_rows_of
from aecompress.data.sources.images import images_in, read_images
from aecompress.data.sources.limits import check_fits
from aecompress.data.table import Column, Table
from aecompress.errors import DataError
from aecompress.parsing import quoted
from aecompress.registry import COMPRESSED

DICT = "dataset_dict.json"
"""What a folder of several splits holds."""
BLOCK = 1 << 20
"""Rows that are copied at once from a file."""


@dataclass(frozen=True)
class Found:
    """A file, and what is taken from it."""

    path: Path
    key: str = ""


def files_of(source: str, directory: Path = Path()) -> list[Found]:
    """Return the files of ``FILE[:key]``, a pattern of them, or a folder; one that is not there is returned as it is.

    Raises:
        DataError: a pattern or folder without files, or a folder of several formats.
    """
    path, key = file_and_key(source, directory)
    if path.is_dir():
        taken = (path / DICT).is_file()  # the key is that of a split
        return [Found(file, "" if taken else key) for file in files_in(path, key)]
    if any(sign in str(path) for sign in "*?[") and not path.exists():
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 a pattern of a path
        files = [match for match in matches if match.is_file()]
        if not files:
            raise DataError(f"{path}: matches no files; check the pattern")
        return [Found(file, key) for file in files]
    return [Found(path, key)]


def paths_of(source: str) -> list[Path]:
    """Return the files and folders that ``FILE[:key]``, a pattern or a folder stands for, there or not.

    Of a folder, also the folder itself, of which nothing may be deleted.
    """
    path = file_and_key(source)[0]
    try:
        return [*([path] if path.is_dir() else []), *(found.path for found in files_of(source))]
    except DataError:
        return [path]


def files_in(folder: Path, key: str = "") -> list[Path]:
    """Return the files of rows in a folder, by name; of a folder of images, these; none where it holds neither.

    Of a folder that ``datasets`` saved, the Arrow files; of one with several splits, those of the split ``key``, or of
    train.

    Raises:
        DataError: they have several formats.
    """
    if (folder / DICT).is_file():
        return files_in(folder / (key or "train"))
    if (folder / "state.json").is_file() or (folder / "dataset_info.json").is_file():
        return _of_state(folder) or sorted(folder.glob("*.arrow"))
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "_")))
    rows = [path for path in files if format_of(path) is not None]
    kinds = {_ending(path): path.name for path in rows}
    if len(kinds) > 1:
        raise DataError(
            f"{folder}: holds files of several formats ({quoted(', '.join(kinds.values()))}); name those to read, as "
            f"in '{folder}/*{next(iter(kinds))}'"
        )
    return rows or images_in(folder)


def _of_state(folder: Path) -> list[Path]:
    """Return the Arrow files that ``state.json`` lists, in its order; none where it lists none."""
    try:
        listed = json.loads((folder / "state.json").read_text())["_data_files"]
        files = [folder / Path(str(entry["filename"])).name for entry in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return files if all(file.is_file() for file in files) else []


def _ending(path: Path) -> str:
    name = path.name.lower()
    while name.endswith(COMPRESSED):
        name = name[: name.rindex(".")]
    return Path(name).suffix


def read_many(source: str, found: Sequence[Found], part: Part) -> tuple[Array | Table | FileRows, list[int]]:
    """Read files one after the other as one, and return the number of rows of each.

    Raises:
        DataError: one cannot be read, or their rows do not go together.
    """
    if not found:
        raise DataError(f"{source}: is a folder without files of rows; name a file")
    if len(found) > 1 and len(images := [one.path for one in found if format_of(one.path) is None]) == len(found):
        rows: Array | Table | FileRows = read_images(images[0].parent, images)
        return rows, [len(rows)]
    first = open_rows_of(found[0].path, _part(part, found[0]))
    if not isinstance(first, Table) and not first.shape:
        raise DataError(f"{found[0].path}: has shape (); rows of inputs are needed, shape (rows, inputs)")
    if len(found) == 1:
        return first, [len(first)]
    more = (open_rows_of(one.path, _part(part, one)) for one in found[1:])
    parts = [first, *more]
    if all(isinstance(one, Table) for one in parts):
        return tables_as_one(found, [one for one in parts if isinstance(one, Table)]), [len(one) for one in parts]
    arrays = [np.asarray(one.cells) if isinstance(one, Table) else one for one in parts]
    return arrays_as_one(found, arrays), [len(one) for one in arrays]


def open_source(source: str, part: Part, directory: Path = Path()) -> Array | Table | FileRows:
    """Return the rows of ``FILE[:key]``, a pattern of files or a folder; its own key counts, not that of ``part``.

    Raises:
        DataError: they cannot be read, or do not go together.
    """
    return read_many(source, files_of(source, directory), part._replace(key=""))[0]


def _part(part: Part, found: Found) -> Part:
    return part._replace(key=found.key or part.key)


def arrays_as_one(found: Sequence[Found], arrays: Sequence[Array | FileRows]) -> Array:
    """Return the rows of arrays one after the other.

    Raises:
        DataError: their rows differ in shape or type.
    """
    first = arrays[0]
    for one, rows in zip(found[1:], arrays[1:], strict=True):
        if rows.shape[1:] != first.shape[1:] or rows.dtype != first.dtype:
            raise DataError(
                f"{one.path}: its rows have shape {rows.shape[1:]} and type {rows.dtype}, those of {found[0].path} "
                f"{first.shape[1:]} and {first.dtype}; they must agree"
            )
    count = sum(map(len, arrays))
    check_fits(str(found[0].path), count * int(np.prod(first.shape[1:])), first.dtype.itemsize)
    whole, done = np.empty((count, *first.shape[1:]), first.dtype), 0
    for rows in arrays:
        for start in range(0, len(rows), BLOCK):
            block = (
                rows.read(start, min(start + BLOCK, len(rows)))
                if isinstance(rows, FileRows)
                else (rows[start : start + BLOCK])
            )
            whole[done : done + len(block)] = block
            done += len(block)
    return whole


def tables_as_one(found: Sequence[Found], tables: Sequence[Table]) -> Table:
    """Return the rows of tables one after the other, their columns in the order of the first.

    Raises:
        DataError: they have other columns than the first, or these hold something else.
    """
    first = tables[0]
    columns = list(first.columns)
    whole = np.empty((sum(map(len, tables)), len(columns)))
    done = 0
    for one, table in zip(found, tables, strict=True):
        order = _order(found[0], first, one, table)
        for place, other in enumerate(order):
            cells = table.cells[:, other]
            columns[place], cells = _joined(one, columns[place], table.columns[other], cells, table is first)
            whole[done : done + len(table), place] = cells
        done += len(table)
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Table(cells=whole, columns=tuple(columns), named=first.named, notes=tuple(notes))


def _order(of: Found, first: Table, found: Found, table: Table) -> list[int]:
    """Return where the columns of the first table stand in another."""
    if table.names == first.names or not (table.named and first.named and len(set(table.names)) == len(table.names)):
        same = len(table.columns) == len(first.columns) and (table.names == first.names or not table.named)
        if same:
            return list(range(len(first.columns)))
    elif set(table.names) == set(first.names):
        return [table.names.index(name) for name in first.names]
    raise DataError(
        f"{found.path}: has the columns {quoted(', '.join(table.names) or len(table.columns))}, {of.path} "
        f"{quoted(', '.join(first.names) or len(first.columns))}; they must agree"
    )


def _joined(
    found: Found, column: Column, more: Column, cells: NDArray[np.float64], first: bool
) -> tuple[Column, NDArray[np.float64]]:
    """Return a column with what another file adds to it, and the cells of that file for it."""
    example = f"{found.path.name}: {more.example}" if more.example else ""
    if first:
        return replace(column, example=example), cells
    if column.holds != more.holds and not np.isnan(cells).all():
        raise DataError(
            f"{found.path}: column {quoted(repr(more.name))} holds {more.holds}s, in the first file {column.holds}s; "
            "they must agree"
        )
    if more.holds == "text" and column.holds == "text":
        places = {text: place for place, text in enumerate(column.texts)}
        moved = np.array([places.setdefault(text, len(places)) for text in more.texts] + [np.nan], np.float64)
        cells = moved[np.where(np.isnan(cells), len(more.texts), cells).astype(np.int64)]
        column = replace(column, texts=tuple(places))
    return replace(column, unread=column.unread + more.unread, example=column.example or example), cells
