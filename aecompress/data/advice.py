"""The command line that works: what a person is advised to type where a table cannot be used as it is."""

from __future__ import annotations

from collections.abc import Sequence

from aecompress.data.base import Request
from aecompress.data.table import Table
from aecompress.flags import FLAGS
from aecompress.printable import shell_line

MOST_NAMES = 20
"""Columns that ``--columns`` lists by name; more are written as ranges of numbers."""
ATTRIBUTES = {"val": "validation"}
"""Fields of a spec's section ``data`` that a request calls otherwise."""


def command_of(request: Request, cures: dict[str, str]) -> str:
    """Return the whole ``aecompress prune`` line with the flags of a request, changed and added to by ``cures``.

    Args:
        cures: flag -> its value; an empty value takes the flag away.
    """
    values = flags_of(request) | cures
    parts = ["aecompress", "prune", request.source, *request.more]
    for flag, value in values.items():
        parts += [flag, value] if value else []
    return shell_line(parts)


def flags_of(request: Request) -> dict[str, str]:
    """Return the flags of a request that are not the default."""
    usual, values = Request(), {}
    for flag in FLAGS:
        section, _, field = flag.field.partition(".")
        if section == "data" and field:
            name = ATTRIBUTES.get(field, field)
            value = getattr(request, name)
            if value != getattr(usual, name):
                values[flag.flag] = ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)
    return values


def columns_flag(table: Table, places: Sequence[int], request: Request) -> str:
    """Return what ``--columns`` takes for the columns at ``places``: names, or numbers and ranges where these serve.

    Numbers count a file's columns, so they cannot stand for those of a table that was already cut to some columns.
    """
    named = table.named and len(set(table.names)) == len(table.names)
    return names_or_numbers([table.columns[place].name if named else "" for place in places], places, request)


def names_or_numbers(names: Sequence[str], places: Sequence[int], request: Request) -> str:
    """Return columns by their names where all have one that ``--columns`` can hold, else by their ``places``."""
    plain = all(name and "," not in name and name == name.strip() for name in names)
    return ",".join(names) if request.columns or (plain and len(names) <= MOST_NAMES) else ranges(places)


def ranges(places: Sequence[int]) -> str:
    """Return ascending numbers as ``0,3-5``."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
