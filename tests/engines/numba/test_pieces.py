"""Pieces of work are claimed in pairs and each once."""

from __future__ import annotations

import threading
import time

import numpy as np

from aecompress.engines import workers
from aecompress.engines.numba.pieces import claim, release


def test_work_is_taken_two_by_two_and_none_before_the_earlier_is_done() -> None:
    gate, count = np.zeros(2, np.int64), 5
    assert [claim(gate, count) for _ in range(2)] == [0, 1]
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(claim(gate, count)), daemon=True)
    other.start()
    for _ in range(2):
        time.sleep(0.1)
        assert not found
        release(gate)
    other.join(30)
    assert found == [2]
    assert claim(gate, count) == 3
    for _ in range(2):
        release(gate)
    assert [claim(gate, count) for _ in range(3)] == [4, -1, -1]


def test_every_piece_of_work_is_done_once() -> None:
    gate, count = np.zeros(2, np.int64), 4001
    done: list[int] = []

    def work(_: int) -> None:
        while (piece := int(claim(gate, count))) >= 0:
            done.append(piece)
            release(gate)

    workers.each(work, range(3))
    assert sorted(done) == list(range(count)) and gate.tolist() == [count, count]
