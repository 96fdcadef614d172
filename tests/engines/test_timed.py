"""A clock counts the time of a phase once, however many threads are in it; a timed engine is the engine."""

from __future__ import annotations

import threading
import time

import torch

from aecompress.engines.registry import ENGINES
from aecompress.engines.timed import EVALUATING, TRAINING, Clock, timed
from tests.engines.test_registry import NOTHING, ROWS, passed, start
from tests.modules import small_net


def test_time_in_which_several_threads_are_in_a_phase_counts_once() -> None:
    clock, ready = Clock(), threading.Barrier(3)

    def inside() -> None:
        with clock("training"):
            ready.wait()
            time.sleep(0.1)

    threads = [threading.Thread(target=inside) for _ in range(3)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.1 <= clock.seconds["training"] <= time.perf_counter() - began
    before = clock.seconds["training"]
    with clock("evolving"), clock("training"):
        pass
    assert clock.seconds["training"] >= before and clock.seconds.keys() == {"training", "evolving"}


def test_a_phase_that_fails_counts_too() -> None:
    clock = Clock()
    try:
        with clock("training"):
            raise InterruptedError
    except InterruptedError:
        assert clock.seconds["training"] > 0


def test_a_timed_engine_does_what_the_engine_does_and_adds_its_time() -> None:
    clock, engine = Clock(), ENGINES["eager"]
    under = timed(engine, clock)
    assert under.name == engine.name
    assert torch.equal(passed(under, start()).weights, passed(engine, start()).weights)
    assert clock.seconds.keys() == {TRAINING} and clock.seconds[TRAINING] > 0
    under.evaluate(small_net(), start().weights, [ROWS], "mse", NOTHING)
    assert clock.seconds[EVALUATING] > 0
