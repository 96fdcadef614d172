"""What a training step of the paper's ring starts on a device: counted, so that no launch or allocation slips in."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aecompress import rng
from aecompress.engines import eager
from aecompress.engines.base import Blocks
from aecompress.engines.cuda import graphs, passes, replays, steps
from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.cuda_passes import CudaPasses
from aecompress.evolve import select
from aecompress.evolve.generation import generation
from tests.engines.cuda.cases import Case, needs_interpreter, work_of
from tests.evolve.plans import make_plan, make_population, make_rows

PAPER = Case(sizes=(1000, 30, 10, 30, 1000), cells=10, batch=5, rows=15, loss="l1", optimizer="fresh-adam")
VIEWS = {"view", "slice", "select", "transpose", "expand", "unsqueeze", "split", "split_with_sizes", "unbind", "t"}
VIEWS |= {"detach", "alias", "_unsafe_view", "_reshape_alias", "as_strided", "squeeze", "unfold"}
MEMORY = {"empty", "empty_like", "empty_strided", "new_empty"}
KERNELS = {
    "step_kernels": ("gather_kernel", "activation_kernel", "output_kernel", "delta_kernel"),
    "update_kernel": ("update_kernel",),
    "narrow_kernels": ("up_kernel", "down_kernel", "turn_kernel"),
    "draw_kernels": ("draw_kernel",),
    "select_kernels": ("digits_kernel", "ties_kernel", "mark_kernel"),
    "pass_kernels": ("split_kernel", "whole_kernel"),
}


class Operations(TorchDispatchMode):
    """Counts torch's operations, those that allocate, and the kernels that would be launched, which are not."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Counter[str]()
        self.allocations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[func.overloadpacket.__name__] += 1
        result = func(*args, **(kwargs or {}))
        self.allocations += bool(storages(result) - storages((args, kwargs)))
        return result

    @property
    def launches(self) -> int:
        return sum(count for name, count in self.found.items() if name not in VIEWS | MEMORY)


def storages(values: Any) -> set[int]:
    """Where tensors have their memory."""
    return {one.untyped_storage()._cdata for one in tree_leaves(values) if isinstance(one, torch.Tensor)}


class Kernel:
    """Stands for a kernel."""

    def __init__(self, launched: Callable[[], None]) -> None:
        self.launched = launched

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **constants: self.launched()


def counted(function: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Operations:
    """What a call starts."""
    with Operations() as seen:
        for module, names in KERNELS.items():
            loaded = importlib.import_module(f"aecompress.engines.cuda.{module}")
            for name in names:
                kernel = Kernel(lambda name=name: seen.found.update([name]))  # type: ignore[misc]
                monkeypatch.setattr(loaded, name, kernel)
        function()
    return seen


@needs_interpreter
def test_launches_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from aecompress.engines.cuda.narrow_kernels import narrow_step
    from aecompress.engines.cuda.step_kernels import fused_gradient
    from aecompress.engines.cuda.update_kernel import fused_update

    work = work_of(PAPER)
    buffers = steps.new_buffers(work)
    steps.fill(buffers, work)
    fused = steps.Pieces(fused_gradient, fused_update)
    half_fused = steps.Pieces(steps.torch_gradient, fused_update)
    kinds: dict[str, tuple[int, Callable[[], None]]] = {  # the issue asks for at most 13
        "torch's operations": (38, lambda: steps.step(buffers, "l1", 5, graphs.TORCH)),
        "the update fused": (33, lambda: steps.step(buffers, "l1", 5, half_fused)),
        "all but the products fused": (22, lambda: steps.step(buffers, "l1", 5, fused)),
        "narrow": (2, lambda: narrow_step(buffers, "l1")),
    }
    for kind, (launches, step) in kinds.items():
        seen = counted(step, monkeypatch)
        assert seen.launches == launches, (kind, seen.found)


@needs_interpreter
def test_launches_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps: words and the order that they sort to, counters at 0, and one kernel.

    The tables of steps are there since a pass before.
    """
    passes.fault_flag(torch.device("cpu"))
    passed = list[Operations]()
    works = [work_of(dataclasses.replace(PAPER, rows=rows)) for rows in (15, 35)]
    monkeypatch.setitem(rng.FUSED, "cpu", "aecompress.engines.cuda.draw_kernels:drawn")
    for work in works * 2:
        passed.append(counted(lambda work=work: passes.train(work), monkeypatch))  # type: ignore[misc]
    passed = passed[2:]
    assert passed[0].found == passed[1].found and passed[0].allocations == passed[1].allocations
    for seen in passed:
        started = {name: count for name, count in seen.found.items() if name not in VIEWS | MEMORY}
        assert started == {"draw_kernel": 1, "sort": 1, "zeros": 1, "split_kernel": 1}


def test_a_replayed_step_starts_nothing_and_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps a pass has, besides the replays there are only the copies in and out."""
    replays = Counter[int]()
    monkeypatch.setattr(graphs, "replay_of", lambda held, work, size: lambda: replays.update([size]))
    works = [work_of(dataclasses.replace(PAPER, rows=rows)) for rows in (15, 35)]
    for work in works:
        graphs.graphs_for(work)  # whose buffers are allocated once a run, as the tables of steps are
        step_tables(work.training, 0, len(work.steps), work.steps, work.block.weights)
    passed = []
    for work in works:
        graphs.graphs_for(work)
        passed.append(counted(lambda work=work: graphs.train(work), monkeypatch))  # type: ignore[misc]
    assert replays == {5: 3 + 7}
    assert passed[0].found == passed[1].found and passed[0].allocations == passed[1].allocations


@pytest.mark.parametrize(
    ("changes", "launches", "allocations"),
    [
        ({}, 34, 17),
        ({"optimizer": "adam", "masked": True}, 39, 16),
        ({"stats": True}, 60, 21),
        ({"noise": "input"}, 81, 38),
        ({"noise": "latent"}, 96, 50),
    ],
    ids=str,
)
def test_what_a_step_of_the_eager_engine_starts(
    changes: dict[str, Any], launches: int, allocations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The difference between a pass of three steps and one of one."""
    monkeypatch.setattr(rng, "CACHED_WORDS", 1 << 30)  # as on a device: a draw at once
    work = work_of(dataclasses.replace(PAPER, **changes))
    one, three = (
        counted(lambda count=count: eager.train(dataclasses.replace(work, steps=range(count))), monkeypatch)  # type: ignore[misc]
        for count in (1, 3)
    )
    assert (three.launches - one.launches, three.allocations - one.allocations) == (2 * launches, 2 * allocations)


@needs_interpreter
def test_launches_of_a_published_prune(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cells and tensors: a draw, and six passes over it."""
    from aecompress.engines.cuda import select_kernels

    scores = torch.rand(10, 700)
    select_kernels.table_of.cache_clear()
    seen = counted(lambda: select_kernels.lowest_of_parts(scores, (300, 400), [[3, 4]] * 10), monkeypatch)
    select_kernels.table_of.cache_clear()
    assert {name: seen.found[name] for name in KERNELS["select_kernels"]} == {
        "digits_kernel": 4,
        "ties_kernel": 1,
        "mark_kernel": 1,
    }


@needs_interpreter
@pytest.mark.parametrize(
    ("changes", "launches", "replayed"),
    [({"p": 1.0}, 58, 3), ({"p": 0.6}, 70, 3), ({"p": 0.6, "asynchronous": True}, 191, 7)],
)
def test_launches_of_a_generation(
    changes: dict[str, Any], launches: int, replayed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the published ring of four starts besides recordings, where all cells are pruned and where some are."""
    plan = make_plan(**changes)
    plan = dataclasses.replace(plan, engine=CudaPasses(), blocks=Blocks(4, "operations", None))
    rows, population = make_rows(), make_population(plan, 4)
    make = functools.partial(generation, plan, population, rows, lambda: None)
    replays._held.clear()
    monkeypatch.setattr(rng, "FUSED", {"cpu": "aecompress.engines.cuda.draw_kernels:drawn"})
    monkeypatch.setattr(select, "_in_kernels", lambda scores: True)
    for _ in range(3):
        counted(make, monkeypatch)
    calls = Counter[str]()
    for known in replays._held.values():
        known.replay = lambda: calls.update(["replay"])
    seen = counted(make, monkeypatch)
    replays._held.clear()
    assert (seen.launches, calls.total()) == (launches, replayed), seen.found
