"""Standard input: a file of any format, recognised by its first bytes."""

from __future__ import annotations

import sys

from aecompress.data.base import Array, Raw, Request
from aecompress.data.file_rows import FileRows
from aecompress.data.sources.formats import read_stream
from aecompress.data.sources.packed import unpack
from aecompress.data.table import Table
from aecompress.errors import DataError

STDIN = "-"
STDIN_NAME = "stdin"
"""Of its rows."""


def read_stdin(request: Request) -> Raw[Array | Table | FileRows]:
    """Read the rows of standard input.

    Raises:
        DataError: it is closed, empty, of no format that is known, or damaged.
    """
    if sys.stdin is None:
        raise DataError("-: standard input is closed; pipe rows into aecompress, such as .npy or CSV")
    file = unpack(STDIN, sys.stdin.buffer)
    if not file.peek(1):
        raise DataError("-: standard input is empty; pipe rows into aecompress, such as .npy or CSV")
    rows = read_stream(STDIN, file, request.part)
    return Raw(name=STDIN_NAME, train=rows, inputs=rows.names if isinstance(rows, Table) and rows.named else ())
