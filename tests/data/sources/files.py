"""Files for the readers' tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def npy(path: Path, array: np.ndarray = ROWS) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def truncated(path: Path, whole: Path) -> Path:
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) - 10])
    return path


def zipped(path: Path, member: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path
