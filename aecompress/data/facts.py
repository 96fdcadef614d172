"""What the data say that auto fields depend on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What the data say that "auto" fields depend on."""

    rows: int
    """Training rows."""
    inputs: int
    """Values of a row, D."""
    binary: bool
    """All scaled training values are 0 or 1."""
    unit: bool
    """All scaled training values lie in [0, 1]."""
    saturated: float = 0.0
    """Share of scaled training values that are exactly 0 or 1."""
    shape: tuple[int, ...] = ()
    """Of one row before it was flattened to ``[D]``; empty: ``(inputs,)``."""
    windows: bool = False
    """A row is a window of a series, ``(length, ...)``."""
    sparse: bool = False
    """Rows are kept sparse, as those of interactions, of which nearly all values are 0."""
    stored: bool = False
    """Rows stay in their file and are read when they are taken."""
    described: int = 0
    """About the bytes that names and scaling of the inputs take in an exported file."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row; its product is D."""
        return self.shape or (self.inputs,)
