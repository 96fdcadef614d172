"""What the data say that auto fields depend on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What the data say that "auto" fields depend on."""

    rows: int
    """Training rows."""
    inputs: int
    binary: bool
    """All scaled training values are 0 or 1."""
    unit: bool
    """All scaled training values lie in [0, 1]."""
    sparse: bool = False
    """Rows are interactions, of which nearly all are 0."""
