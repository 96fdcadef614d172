"""What is captured repeats itself: read in its source, and compared step by step."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from aecompress.engines.cuda import graphs, steps
from aecompress.nets.rows import SparseTensor
from tests.engines.cuda.cases import OTHER, PLAIN, needs_interpreter, sparse, work_of
from tests.engines.cuda.lint import faults, functions_of, source_of
from tests.engines.cuda.test_launches import KERNELS, Kernel

CASES = {**PLAIN, **OTHER}
WRONG = {
    "x.item()": "transfer",
    "x.tolist()": "transfer",
    "x.cpu()": "transfer",
    "x.to('cpu')": "transfer",
    "x.to(device)": "transfer",
    "x.to(y.device)": "transfer",
    "x.to(torch.float32, device=device)": "transfer",
    "on_device([1.0], x.device)": "transfer",
    "torch.tensor([1.0, 2.0])": "factory",
    "torch.as_tensor(numbers)": "factory",
    "x.new_tensor([size])": "factory",
    "x.nonzero()": "size",
    "step_size(training, step, of)": "number of a step",
    "x.mul_(training.rate(0.5))": "number of a step",
    "x.mul_(block.generation)": "number of a step",
    "rng.step_key(1, 'noise', 0, step)": "number of a step",
    "time.perf_counter()": "number of a step",
    "buffers.done += 1": "state of the host",
    "buffers.done = True": "state of the host",
    "global done": "state of the host",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_a_replay_would_not_repeat_is_found(line: str) -> None:
    found = list(faults(ast.parse(f"def body(x, y):\n    {line}\n")))
    assert found and all(each.startswith(WRONG[line]) for each in found), found


def test_what_a_replay_repeats_is_no_fault() -> None:
    lines = (
        "x.to(y.dtype)",
        "x.to(torch.float32)",
        "x.to(dtype=kind)",
        "torch.zeros(3)",
        "counter.add_(1)",
        "x[0] = y",
    )
    assert not list(faults(ast.parse("\n".join(lines))))


def body_of(name: str, kind: str) -> tuple[steps.Buffers, Callable[[], None]]:
    """The first step of a case, of its kernels where ``kind`` says so."""
    work = work_of(CASES[name])
    work = dataclasses.replace(work, rows=sparse(work.rows)) if kind == "sparse" else work
    buffers = steps.new_buffers(work)
    steps.fill(buffers, work)
    loss = work.training.loss(0)
    body = graphs.body_of(buffers, work, loss, min(work.training.batch, work.rows.shape[0]))
    return buffers, body


BODIES = [(name, "torch") for name in CASES] + [(name, "kernels") for name in CASES] + [("adam", "sparse")]


@pytest.fixture
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[steps.Buffers, Any, list[Any]]:
    """The buffers and the step of a case, and what its kernels are launched with."""
    name, kind = request.param
    launched = list[Any]()
    if kind == "sparse":
        monkeypatch.setattr(SparseTensor, "index_select", lambda rows, dim, index: rows.padded(index))  # as on a device
    if kind == "kernels":
        monkeypatch.setattr(graphs, "kernels_on", lambda device: True)
        for module, names in KERNELS.items():
            loaded = importlib.import_module(f"aecompress.engines.cuda.{module}")
            for kernel in names:
                monkeypatch.setattr(loaded, kernel, Recorded(launched))
    return *body_of(name, kind), launched


class Recorded(Kernel):
    """Stands for a kernel, and keeps what it is given."""

    def __init__(self, launched: list[Any]) -> None:
        self.launches = launched

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **constants: self.launches.append(numbers((grid, arguments, constants)))


def numbers(values: Any) -> Any:
    """The same, of tensors their shapes."""
    return tree_map(lambda one: tuple(one.shape) if isinstance(one, torch.Tensor) else one, values)


class Launches(TorchDispatchMode):
    """Keeps what torch's operations are given."""

    def __init__(self, launched: list[Any]) -> None:
        super().__init__()
        self.launched = launched

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.launched.append((func, numbers((args, kwargs))))
        return func(*args, **(kwargs or {}))


parametrised = pytest.mark.parametrize(
    "body",
    [
        pytest.param(each, id=": ".join(each), marks=needs_interpreter if each[1] == "kernels" else ())
        for each in BODIES
    ],
    indirect=True,
)


@parametrised
def test_the_source_of_a_captured_step_has_no_fault(body: tuple[steps.Buffers, Any, list[Any]]) -> None:
    codes = functions_of(body[1], body[0].rewind)
    assert {"step", "narrow_step"} & {code.co_name for code in codes}
    found = {
        f"{Path(code.co_filename).name}:{code.co_firstlineno}": fault
        for code in codes
        for node in source_of(code)
        for fault in faults(node)
    }
    assert not found


@parametrised
def test_two_steps_of_two_generations_launch_the_same_with_the_same_numbers(
    body: tuple[steps.Buffers, Any, list[Any]],
) -> None:
    made = launches_of(*body)
    assert made[0] and all(each == made[0] for each in made)


def test_steps_that_differ_are_told_apart() -> None:
    """Sparse rows as a CPU takes them: as many places as the batch has ones."""
    made = launches_of(*body_of("adam", "sparse"), [])
    assert any(each != made[0] for each in made)


def launches_of(buffers: steps.Buffers, step: Callable[[], None], launched: list[Any]) -> list[list[Any]]:
    """What each of the first two steps of two generations launches, into ``launched`` and in the result."""
    step()  # fills caches
    made = []
    for generation in (0, 3):
        buffers.rewind()
        buffers.block.generation = generation
        for _ in range(min(2, buffers.of)):
            launched.clear()
            with Launches(launched):
                step()
            made.append(list(launched))
    return made
