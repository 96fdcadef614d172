"""Reading rows: built-in sets by name, arrays from files. Every reader gives numbers ``[N, D]`` or a clear error."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes

Array = NDArray[np.generic]
CLUSTERS = re.compile(r"binary-clusters:(\d+)x(\d+)x(\d+)")
FLIP_RATE = 0.05
STDIN = "-"
csv.field_size_limit(1 << 31)
NPY_MAGIC, GZIP_MAGIC = b"\x93NUMPY", b"\x1f\x8b"


@dataclass(frozen=True)
class Raw:
    """Rows as read, ``[N, ...]``; some built-in sets bring their own validation and test rows."""

    name: str
    train: Array
    validation: Array | None = None
    test: Array | None = None
    notes: dict[str, float] = field(default_factory=dict)


def read(
    source: str,
    key: str = "",
    columns: str = "",
    seed: int = 0,
    header: str = "auto",
    directory: Path = Path(),
) -> Raw:
    """The rows that ``source`` names: ``digits``, ``binary-clusters:CxRxD``, a file, or ``-`` for standard input.

    Args:
        key: array name in an ``.npz``, when the source does not say it.
        columns: CSV columns to take; empty for all.
        seed: instance of a generated set.
        header: whether the first line of CSV names the columns: yes, no, or auto.
        directory: where a relative path starts from.

    Raises:
        DataError: the rows cannot be read.
    """
    if source == "digits" or source.split(":")[0] == "binary-clusters":
        for field, value in (("data.key (--key)", key), ("data.columns (--columns)", columns)):
            if value:
                raise DataError(f"{source}: is built in and has no parts to choose, so leave out {field} = {value!r}")
    if source == "digits":
        return Raw("digits", digits())
    if source.split(":")[0] == "binary-clusters":
        match = CLUSTERS.fullmatch(source)
        if not match or not all(int(size) for size in match.groups()):
            raise DataError(
                f"{source}: write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example binary-clusters:10x100x1000"
            )
        clusters, rows, inputs = map(int, match.groups())
        # Centroids as int64; three splits, while their noise is drawn as float64 and once as float32.
        needed = inputs * clusters * (8 + rows * (8 + 3 * 5))
        if needed > memory_bytes():
            raise DataError(
                f"{source}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; "
                "ask for fewer rows or inputs"
            )
        return binary_clusters(source, clusters, rows, inputs, seed)
    if source == STDIN:
        if key:
            raise DataError(f"-: standard input holds one array, so leave out the key {key!r}")
        return Raw("stdin", read_stdin(columns, header))
    if source.startswith("interactions:"):
        raise DataError(f"{source}: is for training; give rows as .npy or .npz, in the order of inputs.txt")
    path, inner = file_and_key(source, directory)
    return Raw(path.name.partition(".")[0], read_array(path, inner or key, columns, header))


def file_and_key(source: str, directory: Path = Path()) -> tuple[Path, str]:
    """``FILE[:key]`` as path, below ``directory``, and key; a colon inside an existing path belongs to the path."""
    if (directory / source).exists() or ":" not in source:
        return directory / source, ""
    file, _, key = source.rpartition(":")
    return directory / file, key


def read_array(path: Path, key: str = "", columns: str = "", header: str = "auto") -> Array:
    """The rows of an ``.npy`` file, of array ``key`` of an ``.npz`` file, or of a ``.csv`` or ``.csv.gz`` file.

    Args:
        columns: names or numbers of the CSV columns to take; empty for all.

    Raises:
        DataError: missing, truncated, of another kind, or without that key.
    """
    csv_file = path.name.endswith((".csv", ".csv.gz"))
    if not csv_file and path.suffix not in (".npy", ".npz"):
        raise DataError(
            f"{path}: not a data source; name a .npy, .npz, .csv or .csv.gz file, digits, binary-clusters:CxRxD, or -"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if key and path.suffix != ".npz":
        raise DataError(f"{path}: holds one array, so leave out the key {key!r}")
    if columns and not csv_file:
        raise DataError(f"{path}: has no named columns, so leave out data.columns (--columns) = {columns!r}")
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check its permissions") from fault
    return parse_csv(str(path), data, columns, header) if csv_file else parse_numpy(str(path), data, key)


def read_stdin(columns: str = "", header: str = "auto") -> Array:
    """Rows from standard input: ``.npy`` or CSV, gzip or not, told apart by content.

    Raises:
        DataError: it is none of them.
    """
    data = gunzip("-", sys.stdin.buffer.read())
    if not data:
        raise DataError("-: standard input is empty; pipe .npy or CSV rows into aecompress")
    return parse_numpy("-", data, "") if data.startswith(NPY_MAGIC) else parse_csv("-", data, columns, header)


def gunzip(where: str, data: bytes) -> bytes:
    """``data`` decompressed where it is gzip, else as it is.

    Raises:
        DataError: truncated or damaged gzip.
    """
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as fault:
        raise DataError(f"{where}: is damaged gzip ({fault}); compress it again") from fault


def parse_numpy(where: str, data: bytes, key: str) -> Array:
    """The array of an ``.npy``, or array ``key`` of an ``.npz``; no pickled objects.

    Raises:
        DataError: truncated, of another kind, or without that key.
    """
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = ", ".join(loaded.files)
            if not loaded.files:
                raise DataError(f"{where}: holds no arrays; save one in it")
            if not key and len(loaded.files) != 1:
                raise DataError(f"{where}: holds {names}; choose one, as in {where}:{loaded.files[0]}")
            if key and key not in loaded.files:
                raise DataError(f"{where}: has no array {key!r}; it holds {names}")
            needed = max(
                (one.file_size for one in loaded.zip.infolist() if one.filename.startswith(key or "")), default=0
            )
            if needed > memory_bytes():
                raise DataError(
                    f"{where}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; give fewer rows"
                )
            array = loaded[key or loaded.files[0]]
            if not isinstance(array, np.ndarray):
                raise DataError(f"{where}: {key or loaded.files[0]!r} is not an array; choose another key")
            return array
    except DataError:
        raise
    except Exception as fault:  # a damaged file makes NumPy, zipfile and zlib raise a dozen unrelated classes
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        cure = "save plain numbers instead" if "Object" in reason else "write the file again"
        raise DataError(f"{where}: cannot be read as a NumPy array ({reason}); {cure}") from fault


def parse_csv(where: str, data: bytes, columns: str, header: str = "auto") -> Array:
    """Rows of comma-separated numbers, float64 ``[N, D]``.

    Args:
        columns: comma-separated header names, or numbers and ranges from 0 (``0,3-5``); empty for all.
        header: whether the first line names the columns; auto: when one of its cells is no number.

    Raises:
        DataError: naming the line and the cell that is wrong.
    """
    try:
        text = gunzip(where, data).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(f"{where}: is not text (byte {fault.start}); give CSV in UTF-8") from fault
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{where}: has no rows; give at least two")
    first = next(csv.reader([lines[0][1]]))
    named = header == "yes" or (header == "auto" and not all(is_number(cell) for cell in first))
    names = [cell.strip() for cell in first] if named else None
    body = lines[1:] if named else lines
    if not body:
        raise DataError(f"{where}: has a header and no rows; give at least two")
    chosen = choose_columns(where, columns, names, len(first))
    for number, line in body:
        cells = line.count(",") + 1 if '"' not in line else len(next(csv.reader([line])))
        if cells != len(first):
            raise DataError(
                f"{where}: line {number} has {cells} cells, the first line {len(first)}; give every line as many"
            )
    try:
        return np.loadtxt(
            (line for _, line in body), delimiter=",", ndmin=2, usecols=chosen, quotechar='"', comments=None
        )
    except ValueError as fault:
        raise DataError(
            f"{where}: {first_bad_cell(body, len(first), chosen) or f'{fault}; give numbers only'}"
        ) from fault


def is_number(cell: str) -> bool:
    """Whether a CSV cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def choose_columns(where: str, columns: str, header: list[str] | None, width: int) -> list[int] | None:
    """The column numbers that ``columns`` asks for; None for all.

    Raises:
        DataError: a name or number that the file does not have.
    """
    if not columns:
        return None
    chosen = []
    for part in (part.strip() for part in columns.split(",")):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if header is not None and part in header:
            chosen.append(header.index(part))
        elif span and int(span[1]) <= int(span[2] or span[1]) < width:
            chosen += range(int(span[1]), int(span[2] or span[1]) + 1)
        else:
            has = ", ".join(header) if header is not None else f"columns 0 to {width - 1}"
            raise DataError(f"{where}: has no column {part!r} (data.columns, --columns); it has {has[:200]}")
    return chosen


def first_bad_cell(body: list[tuple[int, str]], width: int, chosen: list[int] | None) -> str:
    """The first chosen cell that is no number, in words; empty where none is found."""
    for (number, _), cells in zip(body, csv.reader(line for _, line in body), strict=False):
        for column in range(width) if chosen is None else chosen:
            if not is_number(cells[column]):
                said = repr(cells[column][:40]) if cells[column].strip() else "empty"
                return f"line {number}, column {column} is {said}, not a number; choose numeric columns with --columns"
    return ""


def digits() -> Array:
    """scikit-learn's 1,797 handwritten digits, 8x8, pixels 0 .. 16 as float32 in [0, 1]: ``[1797, 8, 8]``."""
    from sklearn.datasets import load_digits

    images: Array = (load_digits().images / 16).astype(np.float32)
    return images


def binary_clusters(name: str, clusters: int, rows: int, inputs: int, seed: int) -> Raw:
    """The binary clustering problem (ALGORITHMS A1): three sets ``[clusters x rows, inputs]`` of 0 and 1.

    A centroid bit is 1 when Binomial(2, 0.5) > 0; every row is its centroid with each bit flipped with probability
    0.05, independently in the three sets. The notes give each set's own flip rate: the L1 of a perfect code.
    """
    centroids = rng.host(seed, "centroids").binomial(2, 0.5, (clusters, inputs)) > 0
    clean = np.repeat(centroids, rows, axis=0)
    parts, notes = {}, {}
    for index, part in enumerate(("train", "validation", "test")):
        flips = rng.host(seed, "flips", index).random(clean.shape) < FLIP_RATE
        parts[part] = (clean ^ flips).astype(np.uint8)
        notes[f"{part}_flip_rate"] = float(flips.mean())
    return Raw(name, **parts, notes=notes)
