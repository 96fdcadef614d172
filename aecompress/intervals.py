"""Times and their ratios as intervals, and the words that a reader gets for them: one place for tables of any kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["faster", "slower", "same", "busy"]
BUSY = "machine busy, not measured"
WIDE = 1.5
"""The end of an interval over its beginning above which the times say nothing."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as a baseline: the interval of the median ratio, and the median seen."""

    low: float
    middle: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Return what is known: nothing where the interval is wide, and no order where it holds 1."""
        if not self.high <= WIDE * self.low:
            return "busy"
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "same"

    @property
    def text(self) -> str:
        """Return the cell of a table: the interval only where there is a difference."""
        if self.verdict == "busy":
            return BUSY
        return "same" if self.verdict == "same" else f"{self.low:.2f}-{self.high:.2f}x"


EQUAL = Ratio(low=1.0, middle=1.0, high=1.0)
"""The ratio of a file to itself."""


def mean(ratios: Sequence[Ratio]) -> Ratio:
    """Return the geometric mean; its interval holds where all of theirs do."""
    lows, middles, highs = zip(*((one.low, one.middle, one.high) for one in ratios), strict=True)
    return Ratio(low=_root(lows), middle=_root(middles), high=_root(highs))


def _root(values: Sequence[float]) -> float:
    return math.prod(values) ** (1 / len(values))


def milliseconds_text(middle: float, quartiles: tuple[float, float]) -> str:
    """Return the cell of a table: the median, or both quartiles where they are so far apart that it says little."""
    low, high = quartiles
    return f"{middle:.4f}" if high <= WIDE * low else f"{low:.4f}-{high:.4f}"
