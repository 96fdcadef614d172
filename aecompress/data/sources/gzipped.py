"""gzip, known by its first bytes."""

from __future__ import annotations

import gzip
import zlib

from aecompress.errors import DataError

MAGIC = b"\x1f\x8b"


def gunzip(where: str, data: bytes) -> bytes:
    """Return ``data`` decompressed where it is gzip, else as it is.

    Raises:
        DataError: truncated or damaged gzip.
    """
    if not data.startswith(MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as fault:
        raise DataError(f"{where}: is damaged gzip ({fault}); compress it again") from fault
