"""Dates as numbers that go round: sine and cosine of the time of day, the weekday and the day of the year."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
DAY = 86_400.0
"""Seconds."""
YEAR = 365.25
"""Days, on average."""


def hour(seconds: Doubles) -> Doubles:
    """Return the share of the day that is over, from seconds since 1970."""
    over: Doubles = np.mod(seconds, DAY) / DAY
    return over


def weekday(seconds: Doubles) -> Doubles:
    """Return the weekday as a share of the week: Monday 0, Sunday 6/7. The first of January 1970 was a Thursday."""
    over: Doubles = np.mod(np.floor(seconds / DAY) + 3, 7) / 7
    return over


def day(seconds: Doubles) -> Doubles:
    """Return the day of the year as a share of an average year: the first of January 0."""
    days = np.floor(seconds / DAY).astype("datetime64[D]")
    over: Doubles = (days - days.astype("datetime64[Y]")).astype(np.float64) / YEAR
    return over


PARTS: dict[str, Callable[[Doubles], Doubles]] = {"hour": hour, "weekday": weekday, "day": day}
"""Seconds since 1970 -> the share of a turn that is over, in [0, 1]."""


def waves(seconds: Doubles, parts: tuple[str, ...]) -> Doubles:
    """Return sine and cosine of each part of dates ``[N]``: ``[N, 2 parts]``; 0 where the date is missing."""
    known = np.isfinite(seconds)
    dates = np.where(known, seconds, 0.0)
    turns = [2 * np.pi * PARTS[part](dates) for part in parts]
    both = [wave for turn in turns for wave in (np.sin(turn), np.cos(turn))]
    return np.stack(both, axis=1) * known[:, None] if both else np.empty((len(seconds), 0))


def varying(seconds: Doubles) -> tuple[str, ...]:
    """Return the parts that are not the same in all of some dates ``[N]``."""
    return tuple(name for name, part in PARTS.items() if len(seconds) and np.ptp(part(seconds)) > 0)
