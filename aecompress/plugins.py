"""Operators, schedules and layer kinds that other installed packages bring, by their entry points.

A package that offers one says so in its pyproject.toml::

    [project.entry-points."aecompress.operators"]
    mine = "package.module:NAME"

A layer kind has two, of one name: its class in ``aecompress.layers`` and its torch side in ``aecompress.nets``.
Its code is loaded when a spec names it, and never before.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from aecompress.errors import SpecError

OPERATORS = "aecompress.operators"
"""Entry points of this group are :class:`aecompress.evolve.operators.Operator` objects."""
SCHEDULES = "aecompress.schedules"
"""Entry points of this group build a schedule from an :class:`aecompress.evolve.schedules.Shape`."""

LAYERS = "aecompress.layers"
"""Entry points of this group are classes with the protocol :class:`aecompress.layers.base.Layer`."""
NETS = "aecompress.nets"
"""Entry points of this group are :class:`aecompress.nets.layers.Kind` objects."""


def names(group: str) -> list[str]:
    """Return the names that installed packages give entry points of ``group``."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def load(group: str, field: str, name: str, ours: list[str]) -> Any:
    """Return what the entry point ``name`` of ``group`` stands for.

    Raises:
        SpecError: there is none; the message lists ``ours`` and theirs. Or its package cannot be imported.
    """
    for entry in metadata.entry_points(group=group, name=name):
        try:
            return entry.load()
        except Exception as fault:  # whatever a package raises while it is imported
            raise SpecError(
                f"{field} = {name!r:.200}: {entry.value} cannot be loaded ({fault}); repair that package"
            ) from fault
    raise SpecError(f"{field} = {name!r:.200}: choose one of {', '.join(dict.fromkeys(ours + names(group)))}")
