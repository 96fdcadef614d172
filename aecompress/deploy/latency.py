"""How many times as fast one file is as another, with an interval that holds on a busy machine too.

Files take turns in rounds, in an order drawn anew for each round. Two files that are equally fast are then as likely
to have either of the two times of a round, whatever the noise is: bursts, drift, a process with a rhythm of its own.
So the sign of their difference is a fair coin in every round, and the order statistics of the rounds' ratios hold the
median ratio with a known probability, without any assumption on the noise (the interval of the sign test; Thompson,
"On confidence ranges for the median", Annals of Mathematical Statistics, 1936).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.intervals import Ratio
from aecompress.polling import Poll, no_poll

Times = NDArray[np.float64]
"""Median seconds of a call in each turn, ``[rounds, files]``."""
TURN_SECONDS = 1e-3
"""Short against the time slices of an operating system, so that the turns of a round meet the same noise."""
FEWEST_CALLS = 3
"""In a turn of calls shorter than it: their median has the weights in the cache, and no interruption."""
WARM_UP_CALLS = 3
ONE_IN = 10_000
"""An interval misses the median ratio in one case of so many."""
FEWEST_ROUNDS = 16
"""Of fewer, not even the smallest and the largest ratio are an interval of that probability."""
RESOLUTION = 1.1
"""Intervals are widened by it, because two sessions of one file differ by where their weights lie in memory: by a
standard deviation of 2.5 % where two models of 1.7 MB share a cache of 2 MB, and by at most 7 % in 240
pairs, on one thread."""
NARROW = 1.04
"""The end of an interval over its beginning, before it is widened, from which more rounds are not worth their time."""


def ratio(baseline: Times, other: Times) -> Ratio:
    """Return how many times as fast ``other`` is, from the times ``[rounds]`` of the same FEWEST_ROUNDS or more."""
    low, middle, high = median_interval(baseline / other)
    return Ratio(low=low / RESOLUTION, middle=middle, high=high * RESOLUTION)


def median_interval(values: Times) -> tuple[float, float, float]:
    """Return the median of ``values`` ``[N]``, between the two of them that hold the true one."""
    ordered = np.sort(values)
    beyond = values_beyond(len(ordered))
    return float(ordered[beyond]), float(np.median(ordered)), float(ordered[-1 - beyond])


def values_beyond(count: int) -> int:
    """Return how many of ``count`` sorted values lie on either side of the interval of their median.

    It is the most heads of ``count`` fair coins for which so few, or so few tails, come once in ONE_IN times.
    """
    outcomes = ways = 1  # in integers, because 2**count overflows a float
    heads = 0
    while 2 * ONE_IN * (outcomes + (ways := ways * (count - heads) // (heads + 1))) <= 1 << count:
        outcomes += ways
        heads += 1
    return heads


def take_turns(calls: Sequence[Callable[[], float]], seconds: float, poll: Poll = no_poll) -> Times:
    """Call each in turns until the ratios to the first are known well, or their time is spent.

    All have the same number of calls in a turn, so that those that are equally fast are treated alike.

    Args:
        calls: each does its work once and returns the seconds that took.
        seconds: the most for each of them, as far as that is FEWEST_ROUNDS.
        poll: called before each round; may raise to stop.
    """
    once = statistics.mean(min(call() for _ in range(WARM_UP_CALLS)) for call in calls)
    together = calls_of_a_turn(once)
    most = max(FEWEST_ROUNDS, round(seconds / (together * once)))
    draws = rng.host(0, "bench-order")
    times = np.empty((most, len(calls)))
    look = FEWEST_ROUNDS
    for number in range(1, most + 1):
        poll()
        for index in draws.permutation(len(calls)):
            call = calls[index]
            times[number - 1, index] = statistics.median([call() for _ in range(together)])
        if number == look:  # seldom: each look may be wrong
            look += look // 2
            if known_well(times[:number]):
                return times[:number]
    return times


def calls_of_a_turn(once: float) -> int:
    """Return how many calls of ``once`` seconds are a turn: an odd number, so that the median is one of them."""
    return 1 if once > TURN_SECONDS else max(FEWEST_CALLS, 2 * int(TURN_SECONDS / once / 2) + 1)


def known_well(times: Times) -> bool:
    """Return whether no ratio to the first file needs more rounds."""
    intervals = [median_interval(times[:, 0] / other) for other in times[:, 1:].T]
    return bool(intervals) and all(high <= NARROW * low for low, _, high in intervals)
