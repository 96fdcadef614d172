"""Text of others made safe to print: no character of theirs moves the cursor, sets a colour, or reorders a line.

Names of files, columns, tensors and runs come from elsewhere, and a terminal obeys what they hold.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

# C0, DEL and C1 (among them the first characters of every escape sequence), the marks, embeddings, overrides and
# isolates of bidirectional text, the separators of lines, and the bytes of names that are not UTF-8.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, keep: str = "") -> str:
    """Return ``text`` with its control characters, but those of ``keep``, written as JSON and TOML escape them."""

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found in keep else _SHORT.get(found, f"\\u{ord(found):04x}")

    return _CONTROL.sub(escaped, text)


def one_line(text: str) -> str:
    """Return ``text`` printable and on one line."""
    return printable(re.sub(r"\s*\n\s*", " ", text.strip()))


def cleaned(value: Any) -> Any:
    """Return a record, or lists and tables of values, with every string in it printable; lines stay lines."""
    if isinstance(value, str):
        return printable(value, "\n")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{field: cleaned(item) for field, item in vars(value).items()})
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(cleaned(item) for item in value)
    return value
