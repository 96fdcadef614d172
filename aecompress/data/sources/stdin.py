"""Standard input: ``.npy`` or CSV, gzip or not, recognised by its first bytes."""

from __future__ import annotations

import sys

from aecompress.data.base import Array, Raw, Request
from aecompress.data.sources.gzipped import unpack
from aecompress.data.sources.numpy_files import MAGIC, parse_numpy
from aecompress.data.table import Table
from aecompress.errors import DataError

STDIN = "-"
STDIN_NAME = "stdin"
"""Of its rows."""


def read_stdin(request: Request) -> Raw[Array | Table]:
    """Read the rows of standard input.

    Raises:
        DataError: it is empty, neither ``.npy`` nor CSV, or damaged.
    """
    if request.key:
        raise DataError(f"-: standard input holds one array, so leave out the key {request.key!r:.200}")
    file = unpack(STDIN, sys.stdin.buffer)
    head = file.peek(len(MAGIC))
    if not head:
        raise DataError("-: standard input is empty; pipe .npy or CSV rows into aecompress")
    if head.startswith(MAGIC):
        return Raw(name=STDIN_NAME, train=parse_numpy(STDIN, file, request.part))
    from aecompress.data.sources.csv_files import parse_csv  # imports polars

    table = parse_csv(STDIN, file, request.part)
    return Raw(name=STDIN_NAME, train=table, inputs=table.names if table.named else ())
