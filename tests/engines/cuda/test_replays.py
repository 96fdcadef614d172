"""What a generation does besides training, recorded and replayed: with the bits of the call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.cuda import replays
from aecompress.evolve import ring
from aecompress.evolve.topology import Topology
from aecompress.evolve.topology import ring as ring_of
from aecompress.polling import no_poll
from tests.engines.cuda.cases import Case, work_of
from tests.engines.cuda.lint import faults, functions_of, source_of

WORK = work_of(Case(cells=6))
ROWS = WORK.rows
assert isinstance(ROWS, Tensor)


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    replays._held.clear()
    yield
    replays._held.clear()


def others(count: int) -> list[Tensor]:
    """Weights of other generations."""
    return [WORK.block.weights + number for number in range(count)]


def test_figures_are_those_of_the_eager_engine_and_stay_when_others_are_taken() -> None:
    parts = [ROWS, ROWS[:5]]
    found = [replays.evaluate(WORK.net, each, parts, "l1", no_poll, 4) for each in others(4)]
    assert [known.replay is not None for known in replays._held.values()] == [True]
    for weights, got in zip(others(4), found, strict=True):
        wanted = eager.evaluate(WORK.net, weights, parts, "l1", no_poll, 4)
        assert torch.equal(torch.stack(got.losses), torch.stack(wanted.losses))
        assert torch.equal(got.layer_zeros, wanted.layer_zeros) and got.layer_zeros.dtype == wanted.layer_zeros.dtype
    replays.evaluate(WORK.net, others(1)[0][:3], parts, "l1", no_poll, 4)
    assert len(replays._held) == 2


def winners() -> list[tuple[Any, Callable[[Tensor], tuple[Tensor, ...]]]]:
    """Both functions that find winners, and what they are called with besides weights."""
    topology: Topology = ring_of(6, 1)
    drawn = torch.tensor([[0, 1], [2, 1], [1, 2], [0, 0], [2, 0], [1, 1]])
    batches = ROWS[:18].view(6, 3, -1)
    cells = torch.tensor([1, 4])
    near = topology.neighbours(cells), batches[cells], drawn[cells]
    return [
        (
            ring.RingWinners(ring.RingLosses(WORK.net, topology, "mse"), "best"),
            lambda weights: (weights, batches, drawn),
        ),
        (ring.Winners(WORK.net, "mse", "mean"), lambda weights: (weights, *near)),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_winners_are_those_of_the_call(which: int) -> None:
    function, given = winners()[which]
    draws = torch.Generator().manual_seed(2)
    weights = [torch.rand(each.shape, generator=draws) - 0.5 for each in others(5)]
    found = [replays.compute(winners()[which][0], no_poll, *given(each)) for each in weights]
    assert len(replays._held) == 1 and len({tuple(each.tolist()) for each in found}) > 1
    for each, got in zip(weights, found, strict=True):
        assert torch.equal(got, function(no_poll, *given(each)))


@pytest.mark.parametrize("which", ["ring", "some", "figures"])
def test_a_replay_repeats_all_that_is_recorded(which: str) -> None:
    body: Callable[[], Any] = functools.partial(eager.evaluate, WORK.net, WORK.block.weights, [ROWS], "mse", no_poll, 4)
    if which != "figures":
        function, given = winners()[which == "some"]
        body = functools.partial(function, no_poll, *given(WORK.block.weights))
    read = [node for code in functions_of(body, lambda: None) for node in source_of(code)]
    found = {fault for node in read for fault in faults(node)}
    harmless = {"number of a step: poll()", "number of a step: next(iter(weights.values()))"}
    assert len(read) > 4 and found <= harmless  # of a call that does nothing, and of the first of a network's weights


def test_a_recording_ends_with_the_rows_that_it_reads() -> None:
    rows = ROWS.clone()
    for _ in range(2):
        replays.evaluate(WORK.net, WORK.block.weights, [rows], "l1", no_poll, 4)
    known = next(iter(replays._held.values()))
    known.replay = None  # which, on a CPU alone, holds them
    del rows
    assert not replays._held


def test_too_many_or_too_large_ones_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "HELD", 2)
    monkeypatch.setattr(replays, "STALE", 3)
    doubled = [(number, lambda poll, x: (2 * x,)) for number in range(4)]

    def call(number: int) -> None:
        key, function = doubled[number]
        assert replays.replayed(key, function, no_poll, [torch.ones(1)])[0].tolist() == [2]

    for number in (0, 0, 1, 2, 2):
        call(number)
    assert [key[0] for key in replays._held] == [0, 1]  # type: ignore[index]
    call(1)
    call(2)
    assert [key[0] for key in replays._held] == [1, 2]  # type: ignore[index]
    monkeypatch.setattr(replays, "LARGEST", 3)
    call(3)
    assert [key[0] for key in replays._held] == [1, 2]  # type: ignore[index]


def test_a_stop_is_obeyed_before_a_replay() -> None:
    def stop() -> None:
        raise InterruptedError

    for _ in range(3):
        replays.evaluate(WORK.net, WORK.block.weights, [ROWS], "l1", no_poll, 4)
        with pytest.raises(InterruptedError):
            replays.evaluate(WORK.net, WORK.block.weights, [ROWS], "l1", stop, 4)
