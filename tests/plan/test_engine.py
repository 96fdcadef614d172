from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch

from aecompress.data.facts import Facts
from aecompress.engines import workers
from aecompress.engines.eager import EAGER
from aecompress.errors import DeviceError
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan import engine as engine_module
from aecompress.plan.auto import complete
from aecompress.plan.engine import blocks_of, check_half, eager_seconds, engine_of, resolve_compile, threads_for
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.plan.rows import sampled
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved, resolve
from tests.evolve.plans import make_plan

CPU = torch.device("cpu")


def settled(rows: int = 1000, inputs: int = 1000, **changes: Any) -> tuple[Resolved, Autoencoder]:
    flags = {path.replace("__", "."): ("test", value) for path, value in changes.items()}
    resolved = complete(resolve(flags, preset="paper-coevo-sync"), Facts(rows, inputs, True, True))
    net = network_of(resolved.spec.model, inputs)
    return resolve_compile(resolved, net, CPU, rows), net


def settled_on() -> tuple[RunSpec, Autoencoder]:
    resolved, net = settled(compile="on")
    return resolved.spec, net


def test_a_small_step_takes_one_thread_and_a_large_one_all() -> None:
    plan = make_plan()
    assert threads_for(plan, 4, CPU) == 1
    large = dataclasses.replace(plan, training=dataclasses.replace(plan.training, batch=1_000_000))
    assert threads_for(large, 4, CPU) == torch.get_num_threads()
    assert threads_for(dataclasses.replace(large, apart=True), 4, CPU) == 1


def test_a_long_run_is_compiled_and_a_short_one_is_not_and_the_spec_says_why() -> None:
    long, net = settled()
    short, _ = settled(train__epochs=2)
    assert (long.spec.compile, short.spec.compile) == ("on", "off")
    assert "without it" in long.sources["compile"] and "would not repay it" in short.sources["compile"]
    assert engine_of(long.spec, net, CPU).name == "compiled passes"
    assert engine_of(short.spec, net, CPU) is EAGER


def test_asking_decides_and_large_steps_get_compiled_updates() -> None:
    assert settled(compile="off")[0].spec.compile == "off"
    asked, _ = settled(compile="on", train__epochs=2)
    assert (asked.spec.compile, asked.sources["compile"]) == ("on", "test")
    noisy, net = settled(compile="on", model__family="denoising")
    assert engine_of(noisy.spec, net, CPU).name == "compiled steps"


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
def test_narrow_networks_or_few_rows_are_trained_in_whole_passes(
    inputs: int, hidden: list[int], batch: int, name: str
) -> None:
    asked, net = settled(inputs=inputs, compile="on", train__batch=batch, model__hidden=hidden)
    assert engine_of(asked.spec, net, CPU).name == f"compiled {name}"


def test_without_a_compiler_auto_falls_back_and_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    engine_module.uncompilable.cache_clear()
    try:
        fallen, _ = settled()
        assert fallen.spec.compile == "off"
        assert "numba cannot be imported" in fallen.sources["compile"]
        with pytest.raises(DeviceError, match="compile = 'on': numba cannot be imported"):
            engine_of(*settled_on(), CPU)
    finally:
        engine_module.uncompilable.cache_clear()


def test_compiled_training_and_half_precision_are_refused_where_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="compiled training is for CPUs"):
        engine_of(*settled_on(), torch.device("cuda:0"))
    half, _ = settled(precision="bf16")
    with pytest.raises(DeviceError, match="computes no products in bfloat16"):
        check_half(half.spec, torch.device("mps"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(engine_module, "half_gain", lambda: 0.5)
    with pytest.raises(DeviceError, match="in bfloat16 takes 2.0 times as long"):
        check_half(half.spec, CPU)
    check_half(settled()[0].spec, CPU)
    monkeypatch.setattr(engine_module, "half_gain", lambda: 2.0)
    check_half(half.spec, CPU)


def test_the_gain_of_half_precision_is_measured() -> None:
    assert 0.01 < engine_module.half_gain() < 100


def test_the_expected_time_grows_with_every_size() -> None:
    (one, net), (two, wide) = settled(), settled(evolve__cells=20)
    assert eager_seconds(one.spec, net, 1000) < eager_seconds(one.spec, net, 2000)
    assert eager_seconds(one.spec, net, 1000) < eager_seconds(two.spec, wide, 1000)


def test_blocks_fit_a_cache_and_leave_no_core_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    _, small = settled()
    _, large = settled(model__hidden=[1024], model__latent=256)
    assert blocks_of(small, 10, 5, EAGER, CPU)[0] * 4 * small.layout.size <= engine_module.BLOCK_BYTES
    assert blocks_of(large, 10, 256, EAGER, CPU) == (1, True)
    assert blocks_of(large, 1, 256, EAGER, CPU) == (1, False)
    block, apart = blocks_of(small, 10, 256, EAGER, CPU)
    assert apart and block <= -(-10 // workers.cores())
    assert blocks_of(small, 10, 5, EAGER, torch.device("cuda")) == (10, False)
    passes = engine_of(*settled_on(), CPU)
    assert blocks_of(small, 10, 5, passes, CPU)[0] >= 10
    monkeypatch.setattr(workers, "cores", lambda: 3)
    for net in (small, large):
        assert blocks_of(net, 10, 5, passes, CPU)[0] % 3 == 0
    plan = plan_of(settled(compile="on")[0].spec, small, CPU, passes)
    assert (plan.engine, plan.apart) == (passes, False)


def test_a_generation_is_measured_on_a_tenth_of_the_rows_within_bounds() -> None:
    rows = torch.arange(5000.0)[:, None]
    assert len(sampled(rows, 5000, 0, "x")) == 500
    assert len(sampled(rows, 10, 0, "x")) == 64
    assert sampled(rows[:50], 5000, 0, "x").equal(rows[:50])
    some = sampled(rows, 5000, 0, "x")[:, 0]
    assert some.equal(some.unique()) and not some.equal(sampled(rows, 5000, 1, "x")[:, 0])
