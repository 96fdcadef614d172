"""Schedules: how hard to prune as the run goes on. Each is built once, by a function that checks its numbers."""

from __future__ import annotations

from collections.abc import Callable

from aecompress.errors import SpecError

Curve = Callable[[float], float]
"""Share of the target sparsity, in [0, 1], from the progress of the run in [0, 1]; never falls."""


def cubic(start: float, end: float) -> Curve:
    """1 - (1 - x)^3 with x running from 0 at ``start`` to 1 at ``end`` (Zhu and Gupta 2017, equation 1).

    Args:
        start, end: progress of the run in [0, 1] at which pruning begins and the target is reached.
    """
    if not 0 <= start < end <= 1:
        raise SpecError(f"prune.start = {start} and prune.end = {end}: need 0 <= start < end <= 1")

    def share(progress: float) -> float:
        x = min(max((progress - start) / (end - start), 0.0), 1.0)
        return 1 - (1 - x) ** 3

    return share
