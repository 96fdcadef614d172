"""Which engine trains a run, and why."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aecompress.data.facts import Facts
from aecompress.engines.base import Engine, Workload
from aecompress.engines.compiling import numba_fault
from aecompress.engines.eager import train_seconds
from aecompress.engines.registry import ENGINES
from aecompress.errors import DeviceError
from aecompress.plan import engine as engine_module
from aecompress.plan.auto import complete
from aecompress.plan.engine import cheapest_device, check_precision, choose_engine, engine_to_resume, workload_of
from aecompress.plan.facts import RunFacts
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.spec.resolve import Resolved, resolve
from tests.commands import aecompress
from tests.data.test_interactions import SMALL
from tests.layers.nets import net_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def completed(rows: int = 1000, inputs: int = 1000, **changes: Any) -> tuple[Resolved, Workload]:
    flags = {path.replace("__", "."): ("test", value) for path, value in changes.items()}
    facts = RunFacts(data=Facts(rows=rows, inputs=inputs, binary=True, unit=True), device=CPU)
    resolved = complete(resolve(flags, preset="paper-coevo-sync"), facts)
    return resolved, workload_of(resolved.spec, network_of(resolved.spec.model, (inputs,)), CPU, rows)


def with_engine(**changes: Any) -> tuple[Resolved, Engine]:
    resolved, load = completed(**changes)
    return resolved, choose_engine(load, resolved.spec.compile).engine


def load_of(rows: int = 1000, inputs: int = 1000, **changes: Any) -> Workload:
    return completed(rows, inputs, **changes)[1]


def test_a_long_run_is_compiled_and_a_short_one_is_not_and_the_spec_says_why() -> None:
    (long, engine), (short, other) = with_engine(), with_engine(train__epochs=2)
    assert (long.spec.compile, engine.name) == ("on", "numba-passes")
    assert (short.spec.compile, other.name) == ("off", "eager")
    assert "s of training, eager about" in long.sources["compile"]
    assert "s of training, numba-passes about" in short.sources["compile"]


@pytest.mark.parametrize("family", ["plain", "denoising"])
@pytest.mark.parametrize("seconds", [0.1, 29.9, 30.1, 300.0])
def test_auto_compiles_what_would_take_30_seconds_without_it(family: str, seconds: float) -> None:
    load = dataclasses.replace(load_of(model__family=family), steps=1)
    load = dataclasses.replace(load, steps=round(seconds / train_seconds(load)))
    assert train_seconds(load) == pytest.approx(seconds, rel=0.05 if seconds < 1 else 1e-3)
    choice = choose_engine(load, "auto")
    assert (choice.compile, choice.engine.compiled) == (("on", True) if seconds > 30 else ("off", False))
    assert choice.engine.seconds(load) == min(each.seconds(load) for each in ENGINES.values())


def test_asking_decides() -> None:
    off, engine = with_engine(compile="off")
    assert (off.spec.compile, off.sources["compile"], engine.name) == ("off", "test", "eager")
    on, engine = with_engine(compile="on", train__epochs=2)
    assert (on.spec.compile, on.sources["compile"], engine.name) == ("on", "test", "numba-passes")


@pytest.mark.parametrize("family", ["denoising", "variational"])
def test_other_families_get_compiled_steps(family: str) -> None:
    loss = {"train__loss": "bce"} if family == "variational" else {}
    assert choose_engine(load_of(model__family=family, **loss), "on").engine.name == "numba-steps"


@pytest.mark.parametrize(
    ("inputs", "hidden", "batch", "name"),
    [
        (1000, [30], 256, "passes"),
        (1000, [64], 10_000, "passes"),
        (1000, [65], 33, "steps"),
        (1000, [128], 32, "passes"),
        (1000, [129], 32, "steps"),
        (1000, [2000], 16, "passes"),  # a layer of 1000 by 2000 is 1000 narrow
        (1000, [2000], 17, "steps"),
        (1000, [64, 65, 64], 33, "passes"),  # 65 by 64 is 64 narrow
        (5000, [64], 33, "steps"),  # narrow, but large
        (5000, [64], 32, "passes"),
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 1_000_000])
def test_narrow_networks_or_few_rows_are_trained_in_whole_passes(
    inputs: int, hidden: list[int], batch: int, name: str, steps: int
) -> None:
    load = load_of(inputs=inputs, train__batch=batch, model__hidden=hidden)
    assert choose_engine(dataclasses.replace(load, steps=steps), "on").engine.name == f"numba-{name}"


def test_without_numba_auto_falls_back_and_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    numba_fault.cache_clear()
    try:
        choice = choose_engine(load_of(), "auto")
        assert (choice.engine.name, choice.compile) == ("eager", "off")
        assert choice.why.startswith("auto: numba cannot be imported")
        with pytest.raises(DeviceError, match="compile = 'on': numba cannot be imported.*; set it to auto or off"):
            choose_engine(load_of(), "on")
    finally:
        numba_fault.cache_clear()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"device": torch.device("mps")}, "there is no compiled training on mps"),
        ({"precision": "float64"}, "compiled training is in float32"),
        ({"changes_partners": True}, "networks that change partners train uncompiled"),
        ({"sparse_rows": True}, "sparse rows are trained uncompiled"),
        ({"changes_partners": True, "device": CUDA}, "networks that change partners train step by step"),
    ],
)
@pytest.mark.parametrize("steps", [1, 1_000_000])
def test_what_cannot_be_compiled_is_trained_uncompiled_and_says_why(
    changes: dict[str, Any], why: str, steps: int
) -> None:
    load = dataclasses.replace(load_of(), steps=steps, **changes)
    choice = choose_engine(load, "auto")
    assert (choice.engine.name, choice.compile, choice.why) == ("eager", "off", f"auto: {why}")
    with pytest.raises(DeviceError, match=f"compile = 'on': {why}; set it to auto or off"):
        choose_engine(load, "on")


def test_what_an_engine_of_the_device_can_do_is_compiled_whatever_the_others_cannot() -> None:
    for changes in ({"precision": "float64"}, {"sparse_rows": True}):
        load = dataclasses.replace(load_of(), device=CUDA, **changes)
        assert choose_engine(load, "on").engine.name == "cuda-graphs"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--precision", "float64"], "compiled training is in float32"),
        (["--rule", "opponents"], "networks that change partners train uncompiled"),
        ([f"interactions:{SMALL}"], "sparse rows are trained uncompiled"),
    ],
)
def test_the_engine_says_to_a_user_why_it_cannot_compile(tmp_path: Path, words: list[str], why: str) -> None:
    data = [] if words[0].startswith("interactions:") else ["binary-clusters:2x5x20"]
    done = aecompress("prune", *data, *words, "--device", "cpu", "--compile", "on", "-o", tmp_path / "r")
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == []
    lines = [line for line in done.stderr.splitlines() if not line.startswith("reading ")]
    assert lines == [f"aecompress: compile = 'on': {why}; set it to auto or off"]


@pytest.mark.parametrize(("rule", "changes"), [("pair", False), ("opponents", True), ("panmictic", True)])
def test_the_rule_says_whether_partners_change(rule: str, changes: bool) -> None:
    assert load_of(evolve__rule=rule).changes_partners == changes
    assert not load_of(evolve__rule=rule, mode="canonical").changes_partners


def test_half_precision_is_refused_where_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    half = dataclasses.replace(load_of(), precision="bf16")
    with pytest.raises(DeviceError, match="computes no products in bfloat16"):
        choose_engine(dataclasses.replace(half, device=torch.device("mps")), "off")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(engine_module, "half_gain", lambda: 0.5)
    for compile in ("auto", "on", "off"):
        with pytest.raises(DeviceError, match="precision = 'bf16': .* in bfloat16 takes 2.0 times as long"):
            choose_engine(half, compile)
    check_precision(load_of())
    monkeypatch.setattr(engine_module, "half_gain", lambda: 2.0)
    assert choose_engine(half, "on").engine.name == "numba-steps"


def test_tf32_is_refused_without_a_card_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    short = dataclasses.replace(load_of(model__hidden=[65]), precision="tf32")
    for device in (CPU, torch.device("mps"), CUDA):
        with pytest.raises(DeviceError, match=f"precision = 'tf32': {device} computes no products in TF32, .*; choose"):
            choose_engine(dataclasses.replace(short, device=device), "auto")
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    on_card = dataclasses.replace(short, device=CUDA)
    assert choose_engine(on_card, "auto").engine.name == "cuda-graphs"
    assert cheapest_device([on_card, short], "auto") == CUDA
    assert ENGINES["cuda-graphs"].seconds(on_card) < ENGINES["cuda-graphs"].seconds(
        dataclasses.replace(on_card, precision="float32")
    )


def test_the_gain_of_half_precision_is_measured() -> None:
    assert 0.01 < engine_module.half_gain() < 100


def test_the_expected_time_grows_with_every_size() -> None:
    for engine in ENGINES.values():
        device = CUDA if engine.name.startswith("cuda") else CPU
        net = {"net": net_of("images")} if engine.name == "numba-convolutions" else {}
        one, longer, larger = (
            engine.seconds(dataclasses.replace(load_of(**changes), device=device, **net))
            for changes in ({}, {"rows": 2000}, {"evolve__cells": 200})
        )
        assert math.isfinite(one) and one < longer and one < larger


@pytest.mark.parametrize(
    ("changes", "steps", "name"),
    [
        ({}, 80_000, "cuda-passes"),
        ({"evolve__cells": 1000}, 80_000, "cuda-graphs"),  # more cells than are resident at once
        ({"model__family": "denoising"}, 80_000, "cuda-graphs"),
        ({"model__hidden": [65]}, 80_000, "cuda-graphs"),
        ({"train__batch": 65}, 80_000, "cuda-graphs"),
        ({"model__activation": "gelu"}, 80_000, "cuda-graphs"),
    ],
)
def test_on_a_gpu_narrow_plain_networks_are_trained_in_whole_passes(
    changes: dict[str, Any], steps: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aecompress.engines.cuda_passes.triton_fault", lambda: "")
    load = dataclasses.replace(load_of(**changes), device=CUDA, steps=steps)
    choice = choose_engine(load, "auto")
    assert (choice.engine.name, choice.compile) == (name, "on")
    assert choose_engine(load, "off").engine.name == "eager"


def test_without_triton_steps_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecompress.engines.cuda_passes.triton_fault", lambda: "needs triton")
    assert choose_engine(dataclasses.replace(load_of(), device=CUDA, steps=80_000), "on").engine.name == "cuda-graphs"


def test_auto_takes_the_device_that_is_expected_to_take_the_least_time() -> None:
    def device_of(**changes: Any) -> torch.device:
        load = dataclasses.replace(load_of(**changes), steps=80_000)
        return cheapest_device([dataclasses.replace(load, device=device) for device in (CUDA, CPU)], "auto")

    assert device_of() == CUDA
    assert device_of(train__batch=64, model__hidden=[256]) == CUDA
    small = dataclasses.replace(load_of(), steps=100)
    assert cheapest_device([dataclasses.replace(small, device=device) for device in (CUDA, CPU)], "auto") == CPU


def test_a_device_that_cannot_do_the_work_is_not_taken() -> None:
    half = dataclasses.replace(load_of(), precision="bf16", device=torch.device("mps"))
    assert cheapest_device([half, load_of()], "off") == CPU
    assert cheapest_device([half], "off") == torch.device("mps")


def test_a_plan_has_its_engine_and_the_engines_blocks() -> None:
    resolved, load = completed(compile="on")
    engine = choose_engine(load, resolved.spec.compile).engine
    plan = plan_of(resolved.spec, load, engine)
    assert (plan.engine, plan.blocks) == (engine, engine.layout(load))


def test_a_run_is_resumed_by_its_kind_of_engine_or_by_any() -> None:
    """Interactions, which no engine that compiles trains."""
    _, load = completed(compile="off")
    assert engine_to_resume(load, "on").compiled and not engine_to_resume(load, "off").compiled
    sparse = dataclasses.replace(load, sparse_rows=True)
    with pytest.raises(DeviceError):
        choose_engine(sparse, "on")
    assert engine_to_resume(sparse, "on") is ENGINES["eager"]
