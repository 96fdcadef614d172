"""Text that others wrote, as values: JSON, TOML and numbers, bounded in depth and length, and quoted in messages."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

DEEPEST = 40
"""Tables and lists inside each other; a spec has four."""
LONGEST_KEY = 100
"""Dots of a dotted key."""
LONGEST_QUOTE = 200
"""Characters of a value that a message quotes."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError as fault:
        raise ValueError("is nested too deeply") from fault
    check_depth(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is not TOML, nested too deeply, or holds a key of many parts or a number of thousands of digits.
    """
    if any(piece.count(".") > LONGEST_KEY for piece in re.split(r"[\n,{}\[\]]", text)):
        raise ValueError("has a key of too many parts")  # for which Python's parser takes the square of their number
    try:
        tables = tomllib.loads(text)
    except RecursionError as fault:
        raise ValueError("is nested too deeply") from fault
    check_depth(tables)
    return tables


def check_depth(value: Any) -> None:
    """Refuse tables and lists that lie more than :data:`DEEPEST` inside each other.

    Raises:
        ValueError: they do.
    """
    level = [value]
    for _ in range(DEEPEST):
        inside = [item for one in level if isinstance(one, dict) for item in one.values()]
        inside += [item for one in level if isinstance(one, list) for item in one]
        level = [item for item in inside if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError("is nested too deeply")


def decimal(text: str) -> int | None:
    """Return the number that at most 18 decimal digits, 0 to 9, write; None where ``text`` is something else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def quoted(value: object) -> str:
    """Return a value as a message quotes it: its first :data:`LONGEST_QUOTE` characters."""
    text = str(value)
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."
