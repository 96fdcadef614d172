"""Every engine keeps the contract: it computes what the eager one does, obeys a stop, and is one row."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import aecompress
from aecompress import events
from aecompress.engines import eager
from aecompress.engines.base import Blocks, Engine, Evaluation, PairWork, Work, Workload
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Step, Training, steps_per_generation
from aecompress.nets.layers import Trace
from aecompress.population.state import Population, new_population
from tests.layers.nets import net_of
from tests.modules import mirrored, small_net

CPU = torch.device("cpu")
ROWS = (torch.rand(47, 12, generator=torch.Generator().manual_seed(2)) > 0.4).float()
NOTHING = lambda: None  # noqa: E731
LOAD = Workload(
    net=small_net(),
    device=CPU,
    precision="float32",
    family="plain",
    optimizer="adam",
    batch=6,
    cells=3,
    steps=8,
)
LOADS = [
    dataclasses.replace(LOAD, **changes)
    for changes in (
        {},
        {"precision": "float64"},
        {"precision": "bf16"},
        {"family": "denoising"},
        {"family": "variational"},
        {"optimizer": "fresh-adam", "cells": 1, "batch": 1},
        {"device": torch.device("cuda:0")},
        {"changes_partners": True},
        {"sparse_rows": True},
        {"steps": 0},
        {"net": small_net("leaky-relu:0.2")},
        {"code_l1": 0.3},
        {"net": net_of("images")},
    )
]


CASES: dict[str, dict[str, Any]] = {
    "loss l1": {"loss": "l1", "batch": 7},
    "loss bce": {"loss": "bce"},
    "loss huber": {"loss": "huber"},
    "activation tanh": {"activation": "tanh"},
    "activation gelu": {"activation": "gelu"},
    "activation leaky-relu": {"activation": "leaky-relu"},
    "activation silu": {"activation": "silu"},
    "activation softplus": {"activation": "softplus", "batch": 7},
    "output selu": {"output": "selu"},
    "output identity": {"output": "identity"},
    "sparse code": {"code_l1": 0.3},
    "family denoising": {"family": "denoising"},
    "family variational": {"family": "variational"},
    "a row a batch": {"batch": 1},
    "one batch a pass": {"batch": 64},
}
"""What an engine trains as the eager one does, where it can; cuda/ has the cases of a CUDA device."""
NOISE = {"plain": "none", "denoising": "input", "variational": "latent"}


def workload(case: dict[str, Any]) -> Workload:
    net = small_net(case.get("activation", "relu"), case.get("output", "sigmoid"))
    family, batch = case.get("family", "plain"), case.get("batch", 6)
    net = mirrored((7,), 3, 12, variational=True) if family == "variational" else net
    return dataclasses.replace(LOAD, net=net, family=family, batch=batch, code_l1=case.get("code_l1", 0.0))


def can_on_a_cpu(name: str, case: str) -> bool:
    return not ENGINES[name].why_not(workload(CASES[case]))


def training(optimizer: str = "adam") -> Training:
    return Training(
        seed=1,
        generations=4,
        batch=6,
        loss=lambda generation: "mse",
        optimizer=optimizer,
        betas=(0.9, 0.999),
        rate=lambda progress: 1.0 - progress,
        persistent_masks=optimizer == "adam",
        noise="none",
        noise_level=0.0,
    )


def start(optimizer: str = "adam") -> Population:
    population = new_population(small_net(), 3, 1, 1e-3, optimizer == "adam", CPU, stats_batch=6)
    population.masks[:] = torch.rand(population.masks.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    population.weights.mul_(population.masks)
    return population


def passed(engine: Engine, block: Population, optimizer: str = "adam") -> Population:
    block = block.copy()
    steps = range(steps_per_generation(len(ROWS), 6))
    engine.train(Work(net=small_net(), training=training(optimizer), block=block, rows=ROWS, steps=steps, poll=NOTHING))
    return block


def trains_here(name: str) -> Engine:
    """The engine; skips the test where it cannot train on a CPU."""
    if name == "cuda-passes" and (torch.cuda.is_available() or importlib.util.find_spec("triton") is None):
        pytest.skip("on a CPU it trains in Triton's interpreter: needs triton, and a machine without a GPU")
    return ENGINES[name]


def assert_close(got: Population, wanted: Population) -> None:
    for name, tensor in wanted.tensors().items():
        torch.testing.assert_close(got.tensors()[name], tensor, rtol=3e-4, atol=3e-5, msg=name)


INTERPRETED = pytest.param("cuda-passes", "adam", marks=pytest.mark.slow)  # its kernels have their own tests
TRAINED = [pair for pair in itertools.product(ENGINES, ["adam", "fresh-adam"]) if pair != ("cuda-passes", "adam")]


@pytest.mark.parametrize(("name", "optimizer"), [*TRAINED, INTERPRETED])
def test_every_engine_trains_as_the_eager_one_and_twice_the_same_bits(name: str, optimizer: str) -> None:
    engine = trains_here(name)
    got = passed(engine, start(optimizer), optimizer)
    assert_close(got, passed(ENGINES["eager"], start(optimizer), optimizer))
    again = passed(engine, start(optimizer), optimizer)
    for key, tensor in got.tensors().items():
        assert torch.equal(again.tensors()[key], tensor), key


@pytest.mark.parametrize(
    ("name", "case"), [pair for pair in itertools.product(ENGINES, CASES) if pair[0] != "eager" and can_on_a_cpu(*pair)]
)
def test_every_engine_trains_as_the_eager_one_whatever_it_trains(name: str, case: str) -> None:
    load, loss = workload(CASES[case]), CASES[case].get("loss", "mse")
    chosen = dataclasses.replace(
        training(),
        batch=load.batch,
        loss=lambda generation: loss,
        noise=NOISE[load.family],
        noise_level=0.3,
        code_l1=load.code_l1,
    )
    trained = []
    for engine in (ENGINES[name], ENGINES["eager"]):
        block = new_population(load.net, 3, 1, 1e-3, True, CPU, stats_batch=0)
        steps = range(steps_per_generation(len(ROWS), load.batch))
        engine.train(Work(net=load.net, training=chosen, block=block, rows=ROWS, steps=steps, poll=NOTHING))
        trained.append(block)
    assert_close(*trained)
    assert not torch.equal(trained[0].weights, new_population(load.net, 3, 1, 1e-3, True, CPU, stats_batch=0).weights)


def test_the_cases_of_a_cpu_reach_every_engine_that_compiles_there() -> None:
    for name in ("numba-passes", "numba-steps"):
        assert sum(can_on_a_cpu(name, case) for case in CASES) >= 9


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "cuda-passes" else name for name in ENGINES]
)
def test_a_cell_does_not_depend_on_its_block(name: str) -> None:
    whole = passed(trains_here(name), start())
    for places in ([2], [1, 0]):
        index = torch.tensor(places)
        assert_close(passed(ENGINES[name], start().pick(index)), whole.pick(index))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("metric", ["l1", "mse", "bce", "huber"])
def test_every_engine_evaluates_as_the_eager_one(name: str, metric: str) -> None:
    net, weights = small_net(), start().weights
    got, wanted = (
        engine.evaluate(net, weights, [ROWS, ROWS[:7]], metric, NOTHING) for engine in (ENGINES[name], ENGINES["eager"])
    )
    for one, other in zip(got.losses, wanted.losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert torch.equal(got.layer_zeros, wanted.layer_zeros)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_trains_pairs_as_the_eager_one(name: str) -> None:
    def updated(engine: Engine) -> Population:
        individuals = start()
        engine.train_pairs(
            PairWork(
                net=small_net(),
                training=training(),
                individuals=individuals,
                encoders=torch.tensor([0, 2]),
                decoders=torch.tensor([1, 0]),
                keys=torch.tensor([4, 5]),
                batch=ROWS[:10].view(2, 5, -1),
                step=Step(3, 8, 0),
            )
        )
        return individuals

    got = updated(ENGINES[name])
    assert_close(got, updated(ENGINES["eager"]))
    assert not torch.equal(got.weights, start().weights)


@pytest.mark.parametrize("name", ENGINES)
def test_a_poll_that_raises_stops_every_engine(name: str) -> None:
    def stop() -> None:
        raise InterruptedError

    population, engine = start(), ENGINES[name]
    work = Work(net=small_net(), training=training(), block=population, rows=ROWS, steps=range(8), poll=stop)
    with pytest.raises(InterruptedError):
        engine.train(work)
    assert torch.equal(population.weights, start().weights)
    with pytest.raises(InterruptedError):
        engine.evaluate(small_net(), population.weights, [ROWS], "mse", stop)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_its_rows_name_and_expects_an_end_only_where_it_can(name: str) -> None:
    engine, could = ENGINES[name], 0
    assert engine.name == name
    for load in LOADS:
        why, seconds = engine.why_not(load), engine.seconds(load)
        assert seconds > 0 and (bool(why) == math.isinf(seconds) or "triton" in why)
        if math.isfinite(seconds):
            could += 1
            assert not engine.devices or load.device.type in engine.devices
            blocks = engine.layout(load)
            assert blocks.cells >= 1 and blocks.threads in (1, None)
            assert blocks.cores_take in ("operations", "blocks", "cells")
    assert could


@dataclasses.dataclass(frozen=True)
class Toy:
    """An engine that trains one cell after the other, and says that it takes no time."""

    name: ClassVar[str] = "toy"
    compiled: ClassVar[bool] = False
    devices: ClassVar[tuple[str, ...]] = ()

    def why_not(self, load: Workload) -> str:
        return ""

    def seconds(self, load: Workload) -> float:
        return 0.0

    def layout(self, load: Workload) -> Blocks:
        return Blocks(load.cells, "operations", 1)

    def prepare(self, poll: Any) -> None:
        """Nothing."""

    def train(self, work: Work) -> None:
        for place in range(len(work.block)):
            eager.train(dataclasses.replace(work, block=work.block.part(place, place + 1)))

    def evaluate(self, *arguments: Any) -> Evaluation:
        return eager.evaluate(*arguments)

    def train_pairs(self, work: PairWork) -> Trace:
        return eager.train_pairs(work)

    def compute(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        return 1000 * parameters


def test_a_toy_engine_is_one_row_and_carries_out_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"data.source": "binary-clusters:2x5x20", "train.epochs": 2, "seed": 3}
    wanted = list(aecompress.run(spec, tmp_path / "eager"))
    monkeypatch.setitem(ENGINES, "toy", Toy())
    got = list(aecompress.run(spec, tmp_path / "toy"))
    for log, name in ((wanted, "eager (auto: "), (got, "toy (auto: ")):
        assert next(event for event in log if isinstance(event, events.Started)).engine.startswith(name)
    losses = [[event.validation_loss for event in log if isinstance(event, events.Generation)] for log in (got, wanted)]
    assert len(losses[0]) == 2
    for one, other in zip(*losses, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_run_without_compiling_imports_no_numba(tmp_path: Path) -> None:
    script = (
        "import sys, aecompress\n"
        "spec = {'data.source': 'binary-clusters:2x5x20', 'train.epochs': 2}\n"
        f"for event in aecompress.run(spec, {str(tmp_path / 'run')!r}): pass\n"
        "assert type(event).__name__ == 'Finished', event\n"
        "assert 'numba' not in sys.modules and 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
