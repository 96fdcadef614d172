"""The interval of a ratio of times: how often it errs, and what it finds, on machines whose noise is simulated."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from aecompress.deploy import latency
from aecompress.intervals import Ratio

CALL = 4e-4
"""Seconds of a call of the first file on the simulated machine, when nothing disturbs it."""
BUDGET = 0.05
"""Seconds for each file, as in a run."""
SLICE = 3e-3
"""Seconds that a process runs before another one has its core."""


class Machine:
    """A clock that calls move on, each by its work and by what the noise makes of it.

    ``noise(seconds, work)`` returns the seconds that ``work`` takes when it begins at ``seconds``.
    """

    def __init__(self, noise: Callable[[float, float], float]) -> None:
        self.noise, self.seconds, self.calls = noise, 0.0, 0

    def file(self, work: float) -> Callable[[], float]:
        def call() -> float:
            spent = self.noise(self.seconds, work)
            self.seconds += spent
            self.calls += 1
            return spent

        return call


Noise = Callable[[np.random.Generator], Callable[[float, float], float]]


def quiet(draws: np.random.Generator) -> Callable[[float, float], float]:
    """One per cent here and there."""
    return lambda seconds, work: work * (1 + 0.01 * abs(draws.standard_normal()))


def bursty(draws: np.random.Generator) -> Callable[[float, float], float]:
    """Something else, a third of the time, for 10 ms on average; calls take three times as long meanwhile."""
    state = {"until": 0.0, "busy": False}

    def noise(seconds: float, work: float) -> float:
        while seconds >= state["until"]:
            state["busy"] = not state["busy"]
            state["until"] += draws.exponential(0.01 if state["busy"] else 0.02)
        return work * (3 if state["busy"] else 1) * (1 + 0.01 * abs(draws.standard_normal()))

    return noise


def drifting(draws: np.random.Generator) -> Callable[[float, float], float]:
    """A machine that becomes twice as slow within 50 ms, and a clock rate that wanders."""
    state = {"rate": 0.0}

    def noise(seconds: float, work: float) -> float:
        state["rate"] = 0.99 * state["rate"] + 0.01 * draws.standard_normal()
        return work * math.exp(state["rate"]) * (1 + min(seconds / 0.05, 1))

    return noise


def contended(draws: np.random.Generator) -> Callable[[float, float], float]:
    """Two other processes on the same core, in turns of one slice each; work that was interrupted takes all of it."""
    state = {"left": SLICE * draws.random()}

    def noise(seconds: float, work: float) -> float:
        work *= 1 + 0.01 * abs(draws.standard_normal())
        state["left"] -= work
        if state["left"] >= 0:
            return work
        state["left"] += SLICE
        return work + 2 * SLICE

    return noise


def rhythmic(draws: np.random.Generator) -> Callable[[float, float], float]:
    """Every other call is interrupted, as where a slice is two calls long: the first of two files alone in A B A B."""
    odd = itertools.cycle((0.0, 2 * SLICE))
    return lambda seconds, work: work + next(odd)


MACHINES: dict[str, Noise] = {
    "quiet": quiet,
    "bursty": bursty,
    "drifting": drifting,
    "contended": contended,
    "rhythmic": rhythmic,
}
by_machine = pytest.mark.parametrize("machine", MACHINES)


def compared(
    machine: str, seed: int, times_as_fast: float, call: float = CALL, budget: float = BUDGET
) -> tuple[Ratio, latency.Times]:
    """What is found on a machine about a file that is so many times as fast as the first one."""
    simulated = Machine(MACHINES[machine](np.random.default_rng(seed)))
    times = latency.take_turns([simulated.file(call), simulated.file(call / times_as_fast)], budget)
    return latency.ratio(times[:, 0], times[:, 1]), times


@by_machine
@pytest.mark.parametrize("call", [CALL, 5e-3])
def test_equal_files_are_never_called_different(machine: str, call: float) -> None:
    verdicts: Counter[str] = Counter()
    missed = 0
    for seed in range(150):
        found, times = compared(machine, seed, 1.0, call)
        verdicts[found.verdict] += 1
        low, _, high = latency.median_interval(times[:, 0] / times[:, 1])
        missed += not low <= 1 <= high
    assert not verdicts["faster"] and not verdicts["slower"]
    assert missed <= 1, "the interval misses before it is widened"


def test_equal_files_are_the_same_on_a_quiet_machine() -> None:
    assert {compared("quiet", seed, 1.0)[0].verdict for seed in range(100)} == {"same"}


@pytest.mark.parametrize("times_as_fast", [0.5, 1 / 1.2, 1.2, 2.0])
@pytest.mark.parametrize("machine", ["quiet", "drifting"])
def test_a_real_difference_is_found(machine: str, times_as_fast: float) -> None:
    for seed in range(100):
        found, _ = compared(machine, seed, times_as_fast)
        assert found.verdict == ("faster" if times_as_fast > 1 else "slower")
        assert found.low < times_as_fast < found.high
        assert found.middle == pytest.approx(times_as_fast, rel=0.05)


@pytest.mark.parametrize("machine", ["bursty", "contended"])
def test_twice_as_fast_is_found_beside_others_and_never_turned_round(machine: str) -> None:
    for budget, least in ((BUDGET, 30), (0.5, 95)):
        verdicts = Counter(compared(machine, seed, 2.0, budget=budget)[0].verdict for seed in range(100))
        assert set(verdicts) <= {"faster", "busy"}
        assert verdicts["faster"] >= least


def test_a_machine_on_which_nothing_can_be_measured_is_called_busy() -> None:
    assert {compared("rhythmic", seed, 1.0, 5e-3)[0].verdict for seed in range(50)} <= {"busy", "same"}
    assert compared("rhythmic", 0, 1.0, 5e-3)[0].verdict == "busy"


def test_a_quiet_machine_is_left_early_and_no_machine_takes_more_than_the_budget() -> None:
    quiet_rounds = {len(compared("quiet", seed, 1.0)[1]) for seed in range(20)}
    bursty_rounds = {len(compared("bursty", seed, 1.0)[1]) for seed in range(20)}
    assert quiet_rounds <= {16, 24, 36}
    assert 24 < max(bursty_rounds) <= round(BUDGET / (latency.FEWEST_CALLS * CALL))


def test_a_turn_has_the_same_odd_number_of_calls_for_every_file() -> None:
    assert [latency.calls_of_a_turn(once) for once in (2e-3, 1e-3, 4e-4, 1e-4, 1e-5)] == [1, 3, 3, 11, 101]
    simulated = Machine(quiet(np.random.default_rng(0)))
    counts = [0, 0, 0]

    def counted(index: int) -> Callable[[], float]:
        call = simulated.file(CALL * (1 + index))

        def once() -> float:
            counts[index] += 1
            return call()

        return once

    latency.take_turns([counted(index) for index in range(3)], BUDGET)
    assert len(set(counts)) == 1


def test_the_order_within_a_round_is_drawn() -> None:
    orders = []
    turn: list[int] = []

    def called(index: int) -> Callable[[], float]:
        def once() -> float:
            turn.append(index)
            return 1e-2 * (1 + len(turn) % 2)  # never known well

        return once

    def poll() -> None:
        orders.append(tuple(turn))
        turn.clear()

    latency.take_turns([called(0), called(1)], 1.0, poll)
    assert set(orders[1:]) == {(0, 1), (1, 0)}
    assert 0.2 < sum(order == (0, 1) for order in orders[1:]) / len(orders[1:]) < 0.8


@pytest.mark.parametrize("count", [16, 17, 24, 50, 100, 501])
def test_the_interval_of_the_median_has_its_probability(count: int) -> None:
    beyond = latency.values_beyond(count)
    chance = [2 * sum(math.comb(count, k) for k in range(most + 1)) / 2**count for most in (beyond, beyond + 1)]
    assert chance[0] <= 1 / latency.ONE_IN < chance[1]


def test_the_interval_of_very_many_rounds_is_computed() -> None:
    beyond = latency.values_beyond(20_000)
    assert beyond == pytest.approx(10_000 - 3.89 * math.sqrt(20_000) / 2, abs=3)


def test_an_interval_is_widened_by_what_loading_a_file_again_changes() -> None:
    found = latency.ratio(np.full(20, 3.0), np.full(20, 2.0))
    assert (found.low, found.middle, found.high) == pytest.approx((1.5 / 1.1, 1.5, 1.5 * 1.1))
