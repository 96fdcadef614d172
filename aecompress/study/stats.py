"""Statistics over trials: intervals by bootstrap, rank tests with Holm's correction, effect sizes, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aecompress import rng
from aecompress.study.design import Claim
from aecompress.study.results import Outcome

Floats = NDArray[np.float64]
LEVEL = 0.05
"""Of significance, after the correction."""
CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A group's values in numbers."""

    count: int
    mean: float
    median: float
    std: float
    """Standard deviation of the sample; 0 for one value."""
    low: float
    """Ends of the 95 % bootstrap interval of the mean."""
    high: float
    least: float
    most: float


@dataclass(frozen=True)
class Test:
    """Two groups compared, value against value."""

    difference: float
    """Mean of the first less mean of the second."""
    low: float
    """Ends of the 95 % bootstrap interval of the difference."""
    high: float
    p: float
    """Two-sided, uncorrected."""
    effect: float
    """Probability that a value of the first is the lower one, ties counting half: 0.5 is no difference, 1 all lower."""


@dataclass(frozen=True)
class Finding:
    """A claim, tested; ``test`` is None where a group has fewer than two trials, or the two cannot be compared."""

    claim: Claim
    test: Test | None
    corrected: float
    """Holm's p-value over all claims of an order that could be tested; of a claim of equality the plain one."""
    verdict: str


def summary(values: Floats) -> Summary:
    """Return mean, median, standard deviation and interval of one group's values ``[n]``."""
    low, high = interval((values,), lambda sample, axis: np.mean(sample, axis=axis))
    return Summary(
        count=len(values),
        mean=float(values.mean()),
        median=float(np.median(values)),
        std=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        low=low,
        high=high,
        least=float(values.min()),
        most=float(values.max()),
    )


def interval(samples: tuple[Floats, ...], statistic: object) -> tuple[float, float]:
    """Return the percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13); of single values, themselves."""
    if min(map(len, samples)) < 2:
        value = float(statistic(*samples, axis=-1))  # type: ignore[operator]
        return value, value
    draws = rng.host(0, "bootstrap")
    ends = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=draws
    ).confidence_interval
    return float(ends.low), float(ends.high)


def rank_test(first: Floats, second: Floats) -> Test:
    """Return Mann-Whitney's two-sided test with Vargha and Delaney's effect (2000), of values ``[n]`` and ``[m]``."""
    result = stats.mannwhitneyu(first, second, alternative="two-sided")
    higher = float(result.statistic) / (len(first) * len(second))
    low, high = interval((first, second), lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis))
    return Test(
        difference=float(first.mean() - second.mean()), low=low, high=high, p=float(result.pvalue), effect=1 - higher
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values with Holm's step-down correction (1979).

    The k-th smallest of m is multiplied by m - k + 1; they never fall and are at most 1.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for place, number in enumerate(sorted(range(len(p)), key=lambda number: p[number])):
        largest = max(largest, min(1.0, p[number] * (len(p) - place)))
        corrected[number] = largest
    return corrected


def findings(claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Finding]:
    """Return every claim with its test and verdict.

    p-values are corrected over the claims of an order. Equality is shown by the interval of the difference, which a
    correction would make easier to show, not harder.
    """
    groups = {outcome.group.name: outcome for outcome in outcomes}
    tests = [_tested(groups.get(claim.first), groups.get(claim.second)) for claim in claims]
    orders = [
        test.p for claim, test in zip(claims, tests, strict=True) if isinstance(test, Test) and claim.within is None
    ]
    corrected = iter(holm(orders))
    result = []
    for claim, test in zip(claims, tests, strict=True):
        if isinstance(test, str):
            result.append(Finding(claim, None, float("nan"), test))
        else:
            p = next(corrected) if claim.within is None else test.p
            result.append(Finding(claim, test, p, verdict(claim, test, p)))
    return result


def _tested(first: Outcome | None, second: Outcome | None) -> Test | str:
    """Return the test, or why there is none."""
    if first is None or second is None or min(len(first.results), len(second.results)) < 2:
        return "too few trials"
    if first.metric != second.metric:
        return f"{first.metric} and {second.metric} cannot be compared"
    return rank_test(first.losses, second.losses)


def verdict(claim: Claim, test: Test, corrected: float) -> str:
    """Return the verdict of the trials on a claim."""
    if claim.within is not None:
        if -claim.within < test.low and test.high < claim.within:
            return f"alike to {claim.within:g}"
        return "they differ" if corrected < LEVEL else "not decided"
    if corrected >= LEVEL:
        return "not shown"
    return "holds" if test.effect > 0.5 else "the opposite holds"


def agreement(outcome: Outcome, mean: float) -> str:
    """Return whether a group's mean is as published, in words; empty where nothing was published."""
    expected, within = outcome.group.expected, outcome.group.within
    if expected is None:
        return ""
    if within is None:
        return f"{mean - expected:+.3f}"
    return "yes" if abs(mean - expected) <= within else f"no, {mean - expected:+.3f}"
