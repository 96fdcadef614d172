"""Whole passes: their forms, and their kernels in Triton's interpreter."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aecompress.engines.base import check_trained
from aecompress.engines.cuda import passes
from aecompress.engines.cuda_passes import CudaPasses
from aecompress.errors import DeviceError
from tests.engines.cuda.cases import (
    OTHER,
    PLAIN,
    RELU,
    Case,
    assert_close,
    assert_equal,
    eagerly,
    mostly_slow,
    needs_interpreter,
    trained,
    work_of,
)


@needs_interpreter
@pytest.mark.parametrize("name", mostly_slow(PLAIN, "adam", "two layers", "fewer rows than a batch"))
def test_a_pass_computes_what_the_eager_engine_does(name: str) -> None:
    work = work_of(PLAIN[name])
    got = trained(passes.train, work)
    assert_close(got, eagerly(work))
    assert_equal(trained(passes.train, work), got)
    assert bool((got.weights[~work.block.masks] == 0).all())


@needs_interpreter
@pytest.mark.parametrize("name", mostly_slow(["adam", "fresh", "masks", "two layers"], "two layers"))
def test_the_kernel_of_many_cells_computes_it_too(name: str) -> None:
    work = work_of(dataclasses.replace(PLAIN[name], batch=9 if name == "masks" else 6))

    def train(work: passes.Work) -> None:
        form = passes.whole_form(work.net, work.training.batch, 3)._replace(stretch=16)
        if work.steps:
            passes.whole(work, passes.launch_of(work, form))

    assert_close(trained(train, work), eagerly(work))


@needs_interpreter
def test_blocks_that_do_not_meet_give_up_and_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(Case(rows=6))
    monkeypatch.setattr(passes, "PATIENCE", 3)
    monkeypatch.setattr(passes, "resident", lambda *arguments: 1000)
    form = passes.form_of(work.net, work.training.batch, False)._replace(stretch=16, parts=2)
    launch = passes.launch_of(work, form)
    from aecompress.engines.cuda.pass_kernels import split_kernel

    monkeypatch.setattr(passes, "_at_once", {})
    compiled, calls = SimpleNamespace(run=1, n_regs=1, metadata=SimpleNamespace(shared=1)), []
    monkeypatch.setattr(split_kernel, "warmup", lambda *given, **rest: calls.append(rest) or compiled)
    with np.errstate(all="ignore"):
        assert passes.split(work, launch)  # the interpreter runs one block after the other
        assert passes.split(work, launch)
    assert len(calls) == 1  # a kernel's blocks are counted once
    found = CudaPasses().evaluate(work.net, work.block.weights, [work.rows], "mse", work.poll)
    assert found.fault is not None and found.fault.dtype == torch.int32
    with pytest.raises(DeviceError, match="did not meet"):
        check_trained(found.fault.tolist(), torch.device("cpu"))
    check_trained(passes.taken_fault(torch.device("cpu")).tolist(), torch.device("cpu"))


def test_no_steps_and_a_stop_train_nothing() -> None:
    work = work_of(Case())
    before = work.block.copy()
    passes.train(dataclasses.replace(work, steps=range(0)))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        passes.train(dataclasses.replace(work, poll=stop))
    assert_equal(work.block, before)


@pytest.mark.parametrize(
    ("case", "batch", "why"),
    [
        (PLAIN["adam"], 64, ""),
        (Case(sizes=(65, 9, 3, 9, 65)), 16, ""),
        (Case(sizes=(65, 9, 3, 9, 65)), 17, "at most 16 rows per step of a network of this size, not 17: 65 inputs, 9"),
        (Case(sizes=(64, 33, 3, 33, 64)), 33, "at most 16 rows per step of a network of this size, not 33: 64 inputs"),
        (PLAIN["adam"], 65, "at most 64 rows per step, not 65"),
        (Case(sizes=(90, 65, 3, 9, 90)), 5, "at most 64 units between the ends, not 65"),
        (OTHER["gelu"], 5, "no activation 'gelu'"),
    ],
)
def test_what_does_not_fit_is_said(case: Case, batch: int, why: str) -> None:
    found = passes.unfit(work_of(case).net, batch)
    assert why in found and bool(found) == bool(why)


@pytest.mark.parametrize(
    ("sizes", "batch", "form"),
    [
        ((1000, 30, 10, 30, 1000), 5, (32, 5, 8, 64, 16, 4, "mixed")),
        ((1000, 30, 10, 30, 1000), 9, (32, 9, 16, 64, 16, 4, "ieee")),
        ((30, 16, 4, 16, 30), 64, (16, 64, 64, 32, 1, 4, "ieee")),
        ((64, 33, 10, 33, 64), 33, (64, 33, 64, 64, 1, 8, "tf32x3")),
        ((65, 3, 2, 3, 65), 1, (16, 1, 4, 64, 2, 4, "mixed")),
    ],
)
def test_the_form_of_a_network(sizes: tuple[int, ...], batch: int, form: tuple[int | str, ...]) -> None:
    net = work_of(Case(sizes=sizes, acts=RELU)).net
    assert tuple(passes.form_of(net, batch, False)) == form
    one = passes.form_of(net, batch, True)
    assert one.parts == 1 and one.stretch >= sizes[0]


def test_a_block_of_few_cells_has_a_multiprocessor_to_itself() -> None:
    net = work_of(Case(sizes=(1000, 30, 10, 30, 1000))).net
    few, many = passes.whole_form(net, 5, 100), passes.whole_form(net, 5, 1000)
    assert (few.warps, few.stretch, many.warps, many.stretch) == (8, 128, 4, 64)
    assert few.product == many.product == passes.SHORT and few.batch_tile == many.batch_tile == 16


def test_blocks_that_are_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(
        multi_processor_count=132, max_threads_per_multi_processor=2048, shared_memory_per_multiprocessor=233_472
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    device = torch.device("cuda:0")
    assert passes.resident(255, 30_720, 4, device) == 2 * 132
    assert passes.resident(255, 30_720, 8, device) == 132
    assert passes.resident(128, 100_000, 4, device) == 2 * 132
    assert passes.resident(32, 0, 4, device) == 16 * 132
    assert passes.resident(255, 300_000, 4, device) == 0
