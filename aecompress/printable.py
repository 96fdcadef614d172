"""Text of others made safe to print: as a sentence, in a cell, or in a record; the filter is that of errors."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from aecompress.errors import printable


def one_line(text: str) -> str:
    """Return ``text`` printable and on one line."""
    return printable(re.sub(r"\s*\n\s*", " ", text.strip()))


def in_cell(text: str) -> str:
    """Return ``text`` printable in one cell of a table."""
    return printable(text).replace("\t", "\\t").replace("\n", "\\n")


def cleaned(value: Any) -> Any:
    """Return a record, or lists and tables of values, with every string in it printable; lines stay lines."""
    if isinstance(value, str):
        return printable(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{field: cleaned(item) for field, item in vars(value).items()})
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(cleaned(item) for item in value)
    return value
