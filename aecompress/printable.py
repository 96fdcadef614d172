"""Text of others made safe to print: as a sentence, in a cell, or in a record; the filter is that of errors."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Iterable
from typing import Any

from aecompress.errors import CONTROL, printable


def one_line(text: str) -> str:
    """Return ``text`` printable and on one line."""
    return printable(re.sub(r"\s*\n\s*", " ", text.strip()))


def in_cell(text: str) -> str:
    """Return ``text`` printable in one cell of a table."""
    return printable(text).replace("\t", "\\t").replace("\n", "\\n")


def shell_line(words: Iterable[str]) -> str:
    """Return a command line that a shell splits into ``words``, on one line and printable."""
    return " ".join(map(shell_word, words))


def shell_word(word: str) -> str:
    """Return a word quoted for a shell; one with control characters as bash, zsh and ksh read it: ``$'a\\x1b'``."""
    if not CONTROL.search(word) and "\n" not in word and "\t" not in word:
        return shlex.quote(word)
    written = (
        "".join(f"\\x{byte:02x}" for byte in os.fsencode(one)) if CONTROL.fullmatch(one) or one in "\n\t'\\" else one
        for one in word
    )
    return f"$'{''.join(written)}'"


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
