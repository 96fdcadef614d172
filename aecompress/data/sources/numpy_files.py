"""NumPy files: one array in ``.npy``, arrays by name in ``.npz``."""

from __future__ import annotations

import io

import numpy as np
from numpy.lib.npyio import NpzFile

from aecompress.data.base import Array, Part
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes

MAGIC = b"\x93NUMPY"


def parse_numpy(where: str, data: bytes, part: Part) -> Array:
    """Return the array of an ``.npy``, or array ``part.key`` of an ``.npz``; pickled objects are refused.

    Raises:
        DataError: truncated, of another kind, or without that key.
    """
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return one_of(where, loaded, part.key)
    except DataError:
        raise
    except Exception as fault:  # a damaged file makes NumPy, zipfile and zlib raise a dozen unrelated classes
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        cure = "save plain numbers instead" if "Object" in reason else "write the file again"
        raise DataError(f"{where}: cannot be read as a NumPy array ({reason}); {cure}") from fault


def one_of(where: str, archive: NpzFile, key: str) -> Array:
    """Return array ``key`` of an archive; without a key, the only one.

    Raises:
        DataError: there is no such array, it is not an array, or the memory does not hold it.
    """
    names = ", ".join(archive.files)
    if not archive.files:
        raise DataError(f"{where}: holds no arrays; save one in it")
    if not key and len(archive.files) != 1:
        raise DataError(f"{where}: holds {names}; choose one, as in {where}:{archive.files[0]}")
    if key and key not in archive.files:
        raise DataError(f"{where}: has no array {key!r}; it holds {names}")
    members = archive.zip.infolist()  # type: ignore[union-attr]  # None once the archive is closed
    needed = max((member.file_size for member in members if member.filename.startswith(key)), default=0)
    if needed > memory_bytes():
        raise DataError(f"{where}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; give fewer rows")
    array: Array = archive[key or archive.files[0]]
    if not isinstance(array, np.ndarray):
        raise DataError(f"{where}: {key or archive.files[0]!r} is not an array; choose another key")
    return array
