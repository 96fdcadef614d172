"""Schedules: how pruning develops over the run. Each is built once, by a function that checks its numbers.

A schedule is s(t), t the generation from 0 (ALGORITHMS A6). Driven by probability, a cell is pruned when s(t) > U.
Driven by a target, s only gives the shape: the share of the target reached is the running sum of s over its total.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from aecompress import plugins
from aecompress.errors import SpecError
from aecompress.registry import SCHEDULES

Schedule = Callable[[int], float]
"""s(t), from the generation t = 0, 1, ..."""
Curve = Callable[[float], float]
"""Share of the target sparsity, in [0, 1], from the progress of the run in [0, 1]; never falls."""


@dataclass(frozen=True)
class Shape:
    """The numbers a schedule is built from."""

    probability: float
    """p, in [0, 1]."""
    final: int
    """F, in generations."""
    members: int = 1
    """n, of the neighbourhood."""
    exponent: float = 2.0
    """Rate of ``exponential``."""
    delay: float = 0.75
    """Share of F that ``final_n`` waits."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise SpecError(f"prune.probability = {self.probability}: must lie in [0, 1]")
        if self.final < 0 or self.members < 1 or self.exponent <= 0 or not 0 <= self.delay < 1:
            raise SpecError(f"prune: {self} cannot shape a schedule")


def fixed(shape: Shape) -> Schedule:
    """Return s(t) = p."""
    return lambda t: shape.probability


def increase(shape: Shape) -> Schedule:
    """Return s(t) = p t / F."""
    return lambda t: shape.probability * t / shape.final


def decrease(shape: Shape) -> Schedule:
    """Return s(t) = 1 - p t / F, which starts at 1 and ends at 1 - p: the published form."""
    return lambda t: 1 - shape.probability * t / shape.final


def exponential(shape: Shape) -> Schedule:
    """Return s(t) = p (1 - exp(-2 t / F)), with 2 = ``exponent``."""
    return lambda t: shape.probability * (1 - math.exp(-shape.exponent * t / shape.final))


def final_n(shape: Shape) -> Schedule:
    """Return s(t) = 0 while t < 0.75 F, then p, with 0.75 = ``delay``."""
    return lambda t: 0.0 if t < shape.delay * shape.final else shape.probability


def prune_after(shape: Shape) -> Schedule:
    """Return s(t) = 0 while t < F, then p."""
    return lambda t: 0.0 if t < shape.final else shape.probability


def population(shape: Shape) -> Schedule:
    """Return s(t) = p t / (F n)."""
    return lambda t: shape.probability * t / (shape.final * shape.members)


def schedule(name: str, shape: Shape) -> Schedule:
    """Return the schedule ``name``, a row or an installed package's; s = p where F = 0, with nothing to rise over.

    Raises:
        SpecError: there is no such schedule; the message lists the names.
    """
    ours = {each: row.build for each, row in SCHEDULES.items() if not row.rise}
    built: Callable[[Shape], Schedule] = (
        pkgutil.resolve_name(ours[name])
        if name in ours
        else plugins.load(plugins.SCHEDULES, "prune.schedule", name, list(ours))
    )
    found = fixed(shape) if shape.final == 0 or not callable(built) else built(shape)
    if not callable(built) or not callable(found):
        raise SpecError(f"prune.schedule = {name!r}: its package brings no function that makes s(t); ask its author")
    return found


def toward_target(name: str, shape: Shape, generations: int) -> Curve:
    """Return the curve of a target-driven schedule: the sum of s over the generations so far, over the sum of all.

    Inside a generation the curve rises linearly.

    Raises:
        SpecError: the schedule is 0 throughout these generations.
    """
    s = schedule(name, shape)
    sums = [0.0, *accumulate(s(t) for t in range(generations))]
    if sums[-1] <= 0:
        raise SpecError(
            f"prune.schedule = {name!r}: never prunes in {generations} generations of this mode; choose another"
        )

    def share(progress: float) -> float:
        elapsed = min(max(progress, 0.0), 1.0) * generations
        whole = min(int(elapsed), generations - 1)
        return min((sums[whole] + (elapsed - whole) * (sums[whole + 1] - sums[whole])) / sums[-1], 1.0)

    return share


def cubic(start: float, end: float) -> Curve:
    """Return 1 - (1 - x)^3 with x running from 0 at ``start`` to 1 at ``end`` (Zhu and Gupta 2017, equation 1).

    Args:
        start, end: progress of the run in [0, 1] at which pruning begins and the target is reached.

    Raises:
        SpecError: they are not in this order.
    """
    if not 0 <= start < end <= 1:
        raise SpecError(f"prune.start = {start} and prune.end = {end}: need 0 <= start < end <= 1")

    def share(progress: float) -> float:
        x = min(max((progress - start) / (end - start), 0.0), 1.0)
        return 1 - (1 - x) ** 3

    return share


def rise(name: str) -> Callable[[float, float], Curve] | None:
    """Return what builds the rise ``name`` from its start and end; None where that is a schedule s(t)."""
    row = SCHEDULES.get(name)
    return pkgutil.resolve_name(row.build) if row is not None and row.rise else None
