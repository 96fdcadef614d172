"""What a run wrote, held to checksums: ``SHA256SUMS`` of a folder, which `sha256sum -c` checks too, and sealed JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aecompress.errors import DamagedError, DataError
from aecompress.files import open_own, read_own, write_text

SUMS = "SHA256SUMS"
"""The file of a folder with the sha256 of every other."""
SEAL = "seal"
"""The key of JSON values with the sha256 of all others."""
CURE = "restore it, or remove the folder and export the model again"


def write_sums(folder: Path, pattern: str = "*") -> None:
    """Write the sha256 of every file that ``folder`` holds, or of those of a ``pattern``; hidden files do not count."""
    paths = (path.relative_to(folder) for path in folder.glob(pattern))
    names = sorted(path.as_posix() for path in paths if path.name != SUMS and not path.name.startswith("."))
    write_text(folder / SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))


def read_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each listed file by name; none where the folder has no list.

    Raises:
        DataError: the list cannot be read.
    """
    path = folder / SUMS
    try:
        text = read_own(path).decode()
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); {CURE}") from fault
    except UnicodeDecodeError as fault:
        raise DataError(f"{path}: is not a list of checksums; {CURE}") from fault
    lines = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in text.splitlines()]
    if not all(lines):
        raise DataError(f"{path}: is not a list of checksums; {CURE}")
    return {line[2]: line[1] for line in lines if line}


def check_files(folder: Path, *names: str) -> None:
    """Refuse files that are not as they were written, or that the folder's list does not have.

    Raises:
        DataError: naming the file.
    """
    sums = read_sums(folder)
    for name in names:
        if name not in sums:
            raise DataError(f"{folder / SUMS}: does not list {name}, so that it cannot be checked; {CURE}")
        check_sum(folder / name, sums[name])


def check_folder(folder: Path) -> None:
    """Refuse a folder that has no list, or of which a listed file was changed or is missing.

    Raises:
        DataError: naming the file.
    """
    sums = read_sums(folder)
    if not sums:
        raise DataError(f"{folder / SUMS}: is not there, or empty, so that nothing can be checked; {CURE}")
    for name, digest in sums.items():
        check_sum(folder / name, digest)


def check_listed(path: Path) -> None:
    """Refuse a file that the list beside it has, and that is not as it was written.

    Raises:
        DataError: it was changed, or is missing.
    """
    digest = read_sums(path.parent).get(path.name)
    if digest is not None:
        check_sum(path, digest)


def check_sum(path: Path, digest: str) -> None:
    """Refuse a listed file that is missing, or whose sha256 is not ``digest``.

    Raises:
        DataError: naming the file.
    """
    try:
        found = sha256_of(path)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}), but {SUMS} lists it; {CURE}") from fault
    if found != digest:
        raise DamagedError(f"{path}: was changed or damaged: its checksum is not that of {SUMS}; {CURE}")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file that a run of ours wrote.

    Raises:
        OSError: it cannot be read, or is not a file.
    """
    with open_own(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values with their own checksum."""
    return {**values, SEAL: _seal_of(values)}


def check_seal(values: Mapping[str, Any]) -> None:
    """Refuse values that are not what :func:`sealed` returned, whatever their order.

    Raises:
        ValueError: they are not.
    """
    if values.get(SEAL) != _seal_of(values):
        raise ValueError("its manifest was changed")


def _seal_of(values: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in values.items() if key != SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
