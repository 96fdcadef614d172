"""Reading rows: built-in sets by name, arrays from files. Every reader gives numbers ``[N, D]`` or a clear error."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.errors import DataError

Array = NDArray[np.generic]
CLUSTERS = re.compile(r"binary-clusters:(\d+)x(\d+)x(\d+)")
FLIP_RATE = 0.05


@dataclass(frozen=True)
class Raw:
    """Rows as read, ``[N, ...]``; some built-in sets bring their own validation and test rows."""

    name: str
    train: Array
    validation: Array | None = None
    test: Array | None = None
    notes: dict[str, float] = field(default_factory=dict)


def read(source: str, key: str = "", seed: int = 0) -> Raw:
    """The rows that ``source`` names: ``digits``, ``binary-clusters:CxRxD``, ``FILE.npy``, ``FILE.npz[:key]``.

    Args:
        key: array name in an ``.npz``, when the source does not say it.
        seed: instance of a generated set.

    Raises:
        DataError: the rows cannot be read.
    """
    if source == "digits":
        return Raw("digits", digits())
    if source.startswith("binary-clusters"):
        match = CLUSTERS.fullmatch(source)
        if not match or not all(int(size) for size in match.groups()):
            raise DataError(
                f"{source}: write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example binary-clusters:10x100x1000"
            )
        clusters, rows, inputs = map(int, match.groups())
        return binary_clusters(source, clusters, rows, inputs, seed)
    path, inner = file_and_key(source)
    return Raw(Path(path).stem, read_array(path, inner or key))


def file_and_key(source: str) -> tuple[Path, str]:
    """``FILE[:key]`` as path and key; a colon inside an existing path belongs to the path."""
    if Path(source).exists() or ":" not in source:
        return Path(source), ""
    file, _, key = source.rpartition(":")
    return Path(file), key


def read_array(path: Path, key: str = "") -> Array:
    """The array of an ``.npy`` file, or array ``key`` of an ``.npz`` file; no pickled objects.

    Raises:
        DataError: missing, truncated, of another kind, or without that key.
    """
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"{path}: not a data source; name a .npy or .npz file, digits, or binary-clusters:CxRxD")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if key:
                raise DataError(f"{path}: holds one array, so leave out the key {key!r}")
            return loaded
        with loaded:
            if not key and len(loaded.files) != 1:
                raise DataError(
                    f"{path}: holds {', '.join(loaded.files)}; choose one, as in {path.name}:{loaded.files[0]}"
                    if loaded.files
                    else f"{path}: holds no arrays"
                )
            if key and key not in loaded.files:
                raise DataError(f"{path}: has no array {key!r}; it holds {', '.join(loaded.files)}")
            array: Array = loaded[key or loaded.files[0]]
            return array
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, MemoryError) as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        cure = (
            "save it as a plain numeric array" if "pickle" in reason or "Object" in reason else "write the file again"
        )
        raise DataError(f"{path}: cannot be read as a NumPy array ({reason}); {cure}") from fault


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
