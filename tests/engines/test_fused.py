"""Compiled training computes what the eager engine computes, cell by cell the same bits, and is compiled once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from aecompress import rng
from aecompress.engines import eager, fused, workers
from aecompress.engines.base import Work
from aecompress.engines.numba_passes import NumbaPasses
from aecompress.engines.numba_steps import NumbaSteps
from aecompress.engines.training import Training, steps_per_generation
from aecompress.layers.dense import dense
from aecompress.nets.autoencoder import Autoencoder, gradient
from aecompress.population.state import Population, new_population
from aecompress.population.stats import activations
from tests.modules import mirrored

CPU = torch.device("cpu")
ROWS = (torch.rand(103, 50, generator=torch.Generator().manual_seed(2)) > 0.4).float()
NOTHING = lambda: None  # noqa: E731
PASSES = NumbaPasses().train


def net_of(latent: str = "relu", output: str = "sigmoid", hidden: str = "relu", size: int = 17) -> Autoencoder:
    return mirrored((size,), 5, ROWS.shape[1], hidden_activation=hidden, latent_activation=latent, output=output)


def rules(optimizer: str, **changes: Any) -> Training:
    base = Training(
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
    return dataclasses.replace(base, **changes)


def start(net: Autoencoder, optimizer: str, size: int = 3, batch: int = 6) -> Population:
    rate = 1e-3 if optimizer == "adam" else 1e-4
    population = new_population(net, size, 1, rate, optimizer == "adam", CPU, stats_batch=batch)
    population.masks[:] = torch.rand(population.masks.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    population.weights.mul_(population.masks)
    return population


def passed(train: Any, net: Autoencoder, rule: Training, population: Population) -> Population:
    block = population.pick(population.cells)
    steps = range(steps_per_generation(len(ROWS), rule.batch))
    train(Work(net=net, training=rule, block=block, rows=ROWS, steps=steps, poll=NOTHING))
    return block


def assert_equal(got: Population, wanted: Population, tolerance: float = 3e-4) -> None:
    for name, tensor in wanted.tensors().items():
        if name == "fitness":  # not yet measured: infinite
            continue
        other = got.tensors()[name].double()
        scale = max(float(tensor.double().abs().max()), 1e-12)
        assert float((other - tensor.double()).abs().max()) < tolerance * scale, name


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
@pytest.mark.parametrize("loss", fused.LOSSES)
@pytest.mark.parametrize(
    ("latent", "output", "hidden"),
    [("relu", "sigmoid", "relu"), ("identity", "identity", "leaky-relu"), ("tanh", "sigmoid", "gelu")],
)
def test_a_compiled_pass_equals_an_eager_one(optimizer: str, loss: str, latent: str, output: str, hidden: str) -> None:
    if loss == "bce":
        output = "sigmoid"
    net, rule = net_of(latent, output, hidden), rules(optimizer, loss=lambda generation: loss)
    population = start(net, optimizer)
    assert_equal(passed(PASSES, net, rule, population), passed(eager.train, net, rule, population))


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
@pytest.mark.parametrize("batch", [1, 2, 4, 5, 7, 10, 33, 64, 98, 103, 200])
def test_every_batch_size_and_a_smaller_last_batch(optimizer: str, batch: int) -> None:
    net, rule = net_of(size=11), rules(optimizer, batch=batch)
    population = start(net, optimizer, batch=min(batch, len(ROWS)))
    assert_equal(passed(PASSES, net, rule, population), passed(eager.train, net, rule, population))


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_masks_hold_to_the_bit_where_they_last_and_only_there(optimizer: str) -> None:
    net, population = net_of(), start(net_of(), optimizer)
    kept = passed(PASSES, net, rules(optimizer, persistent_masks=True), population)
    assert not bool(kept.weights[~population.masks].any())
    free = passed(PASSES, net, rules(optimizer, persistent_masks=False), population)
    assert bool(free.weights[~population.masks].any())


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_cell_has_the_same_bits_in_any_block_and_a_pass_in_any_parts(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, rule, population = net_of(), rules(optimizer), start(net_of(), optimizer, size=5)
    whole = passed(PASSES, net, rule, population)
    for cells in ([0], [3, 1], [4]):
        index = torch.tensor(cells)
        block = population.pick(index)
        for part in (range(4), range(4, 18)):
            PASSES(Work(net=net, training=rule, block=block, rows=ROWS, steps=part, poll=NOTHING))
        assert torch.equal(block.weights, whole.weights[index])
    monkeypatch.setattr(fused, "CALL_FLOP", 1)
    assert torch.equal(passed(PASSES, net, rule, population).weights, whole.weights)


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_cell_of_a_large_batch_has_the_same_bits_whoever_computes_it(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, rule = net_of(size=60), rules(optimizer, batch=41)
    population, rows = start(net, optimizer, size=4, batch=41), ROWS.repeat(20, 1)  # enough for two to be at it

    def trained(cells: list[int], *parts: range) -> Population:
        index = torch.tensor(cells)
        block = population.pick(index)
        for part in parts:
            PASSES(Work(net=net, training=rule, block=block, rows=rows, steps=part, poll=NOTHING))
        return block

    monkeypatch.setattr(workers, "cores", lambda: 1)
    whole = trained([0, 1, 2, 3], range(51))
    asked: list[int] = []
    each = workers.each
    monkeypatch.setattr(workers, "each", lambda work, jobs: (asked.append(len(jobs)), each(work, jobs))[1])
    for cores, cells, jobs in ((2, [3], 2), (5, [0, 2, 1], 6), (2, [1, 3], 2), (2, [0, 1, 2], 3)):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        block = trained(cells, range(17), range(17, 51))
        for name, tensor in block.tensors().items():
            assert torch.equal(tensor, whole.pick(torch.tensor(cells)).tensors()[name]), name
        assert asked == 2 * [len(cells), jobs]  # shuffling and training, for each part
        asked.clear()
    monkeypatch.setattr(fused, "CALL_FLOP", 1)  # a call for every step
    for cores in (1, 5):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        assert torch.equal(trained([0, 1, 2, 3], range(51)).weights, whole.weights)


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-3, 3), max_size=40))
def test_any_words_are_sorted_and_equal_ones_stay_as_they_lie(words: list[int]) -> None:
    order = np.full(len(words), -1)
    fused.sort_places(np.array(words, np.int64), order)
    assert order.tolist() == sorted(range(len(words)), key=lambda place: words[place])


@pytest.mark.parametrize("size", [1, 2, 3, 64, 65, 1000])
def test_every_engine_takes_the_rows_in_the_same_order(size: int) -> None:
    cells = torch.tensor([4, 0, 7])
    order = fused.shuffled(rules("adam"), 3, cells, size)
    assert np.array_equal(order, rng.permutation(1, "batches", 3, cells, 0, size).numpy())


def test_work_is_taken_two_by_two_and_none_before_the_earlier_is_done() -> None:
    gate, count = np.zeros(2, np.int64), 5
    assert [fused.next_of_two(gate, count) for _ in range(2)] == [0, 1]
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(fused.next_of_two(gate, count)), daemon=True)
    other.start()
    for _ in range(2):
        time.sleep(0.1)
        assert not found
        fused.done_with(gate)
    other.join(30)
    assert found == [2]
    assert fused.next_of_two(gate, count) == 3
    for _ in range(2):
        fused.done_with(gate)
    assert [fused.next_of_two(gate, count) for _ in range(3)] == [4, -1, -1]


def test_every_piece_of_work_is_done_once() -> None:
    gate, count = np.zeros(2, np.int64), 4001
    done: list[int] = []

    def work(_: int) -> None:
        while (piece := int(fused.next_of_two(gate, count))) >= 0:
            done.append(piece)
            fused.done_with(gate)

    workers.each(work, range(3))
    assert sorted(done) == list(range(count)) and gate.tolist() == [count, count]


@pytest.mark.parametrize("batch", [6, 40])
def test_a_lost_cell_stays_lost_and_alone(batch: int) -> None:
    net, rule, population = net_of(), rules("adam", batch=batch), start(net_of(), "adam", batch=batch)
    well = passed(PASSES, net, rule, population)
    population.weights[1, 3] = torch.nan
    got = passed(PASSES, net, rule, population)
    assert not bool(got.weights[1].isfinite().all())
    losses = fused.evaluate(net, got.weights, [ROWS], "l1", NOTHING).losses[0]
    assert losses.isfinite().tolist() == [True, False, True]
    assert torch.equal(got.weights[[0, 2]], well.weights[[0, 2]])


@pytest.mark.parametrize("metric", fused.LOSSES)
def test_compiled_measuring_equals_eager_measuring(metric: str) -> None:
    net, population = net_of(), start(net_of(), "adam")
    parts = [ROWS, ROWS[:7]]
    got = fused.evaluate(net, population.weights, parts, metric, NOTHING)
    wanted = eager.evaluate(net, population.weights, parts, metric, NOTHING)
    for one, other in zip(got.losses, wanted.losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert torch.equal(got.layer_zeros, wanted.layer_zeros)
    assert int(got.layer_zeros.sum()) == int((population.weights == 0).sum())


def test_the_sigmoid_is_exact_to_rounding_and_keeps_not_a_number() -> None:
    x = np.linspace(-100, 100, 40001).astype(np.float32)
    y, powers = np.empty_like(x), np.empty(len(x), np.int32)
    fused.sigmoid_row(x, y, powers)
    middle = np.abs(x) < 80
    assert y[middle] == pytest.approx(expit(x[middle].astype(float)), rel=1e-6)
    assert y[-1] == 1 and 0 <= y[0] < 1e-37
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    fused.sigmoid_row(odd, y[:3], powers[:3])
    assert np.isnan(y[0]) and y[1] == 1 and y[2] < 1e-37


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_compiled_update_equals_an_eager_one(optimizer: str, half: bool) -> None:
    net = net_of(size=300)
    rule = rules(optimizer, products=torch.bfloat16 if half else None)
    population = start(net, optimizer)
    slopes = torch.randn(population.weights.shape, generator=torch.Generator().manual_seed(4)) * 1e-3
    ends = []
    for update in (eager.masked_update, fused.masked_update):
        block = population.pick(population.cells)
        kept = block.masks.float() if rule.persistent_masks else None
        own = eager.products_of(block, rule)
        for _ in range(3):
            own.gradient.copy_(slopes)
            update(block, own, kept, rule, 1.0, 1e-8)
        assert torch.equal(own.weights, block.weights.to(own.weights.dtype))
        ends.append(block)
    assert_equal(ends[1], ends[0], 1e-5)


def settled(net: Autoencoder, cells: int, half: bool, loss: str, make: Any, rows: int = 13) -> tuple[Any, torch.Tensor]:
    """The forward pass and the gradient, float32, of a few cells on a few noisy rows."""
    draw = torch.Generator().manual_seed(5)
    weights = 0.3 * torch.randn(cells, net.layout.size, generator=draw)
    batch, noise = torch.rand(2, cells, rows, ROWS.shape[1], generator=draw)
    weights = weights.to(torch.bfloat16) if half else weights
    slopes = torch.full_like(weights, torch.nan)
    views = net.layout.views(slopes)
    trace = make(
        net, net.layout.views(weights), views, batch, noise[..., : net.latent] if variational(net) else noise, 0.1, loss
    )
    return trace, slopes.float()


def variational(net: Autoencoder) -> bool:
    return net.log_variance is not None


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("loss", fused.LOSSES)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", fused.ACTIVATIONS)
def test_a_compiled_gradient_equals_an_eager_one(hidden: str, output: str, loss: str, half: bool) -> None:
    plain = net_of("tanh", output)
    layer = plain.encoder[0]
    first = dense(layer.name, layer.inputs, layer.outputs, hidden)  # any, where layers are given one by one
    net = dataclasses.replace(plain, encoder=(first, plain.encoder[1]))
    for cells in (1, 3):
        seen, got = settled(net, cells, half, loss, fused.gradient)
        known, wanted = settled(net, cells, half, loss, gradient)
        for one, other in zip(activations(net, seen), activations(net, known), strict=True):
            torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=0.05 if half else 1e-5)
        # In bfloat16 a value near its target may come to lie on its other side, which turns that slope of l1 around.
        apart = (got - wanted).abs()
        assert float(apart.mean() if half else apart.max()) < (1e-2 if half else 3e-6) * float(wanted.abs().max())


def test_a_variational_gradient_is_the_eager_one() -> None:
    net = mirrored((9,), 5, ROWS.shape[1], variational=True)
    assert torch.equal(*(settled(net, 2, False, "mse", make)[1] for make in (fused.gradient, gradient)))


def test_a_step_takes_no_new_memory_for_what_layers_give() -> None:
    net = net_of(hidden="gelu")
    first, _ = settled(net, 2, False, "mse", fused.gradient)
    kept = [tensor.data_ptr() for tensor in first.pre + first.out]
    smaller, _ = settled(net, 2, False, "mse", fused.gradient, rows=7)
    assert [tensor.data_ptr() for tensor in smaller.pre + smaller.out] == kept


def test_half_precision_products_learn_what_float32_learns() -> None:
    net, population = net_of(), start(net_of(), "adam")
    full, low = (
        passed(eager.train, net, rules("adam", products=products), population) for products in (None, torch.bfloat16)
    )
    moved = float((full.weights - population.weights).abs().mean())
    assert 0 < float((full.weights - low.weights).abs().mean()) < 0.2 * moved


def test_poll_may_stop_a_compiled_pass() -> None:
    def stop() -> None:
        raise InterruptedError

    net, population = net_of(), start(net_of(), "adam")
    before = population.weights.clone()
    with pytest.raises(InterruptedError):
        PASSES(Work(net=net, training=rules("adam"), block=population, rows=ROWS, steps=range(9), poll=stop))
    assert torch.equal(population.weights, before)


def test_nothing_is_compiled_after_the_warming_whatever_is_trained() -> None:
    functions = (
        fused.train_cell, fused.train_shared, fused.sort_places, fused.evaluate_cell, fused.load, fused.update_row,
        fused.settle, fused.settle_loss, fused.settle_back,
    )  # fmt: skip
    fused.warm()
    before = [len(function.signatures) for function in functions]
    for optimizer in ("adam", "fresh-adam"):
        for loss in ("l1", "mse"):
            net, rule = net_of(), rules(optimizer, loss=lambda generation, loss=loss: loss)
            population = start(net, optimizer)
            for spread in (population.stats, None):
                passed(PASSES, net, rule, dataclasses.replace(population, stats=spread))
                wide = dataclasses.replace(rule, batch=50)
                room = start(net, optimizer, batch=50)
                passed(PASSES, net, wide, room if spread else dataclasses.replace(room, stats=None))
            for products in (None, torch.bfloat16):
                passed(NumbaSteps().train, net, dataclasses.replace(rule, products=products), population)
            fused.evaluate(net, population.weights, [ROWS], loss, NOTHING)
    assert [len(function.signatures) for function in functions] == before
    assert all(before)


def test_compiled_code_is_kept_between_processes(tmp_path: Path) -> None:
    script = (
        "from aecompress.engines import fused; fused.warm(); "
        "print(sum(fused.train_cell.stats.cache_hits.values()), sum(fused.train_cell.stats.cache_misses.values()))"
    )
    fused.compile_ahead(NOTHING)
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["1", "0"]


UPDATE = """
import hashlib
import numpy as np
from aecompress.engines import eager, fused, workers
from aecompress.engines.base import Work
from aecompress.engines.numba_passes import NumbaPasses
from aecompress.engines.numba_steps import NumbaSteps

draws = np.random.default_rng(0)
for kind in (np.float32, np.int16):
    weights, first = (draws.standard_normal(5000).astype(np.float32) for _ in range(2))
    slopes = draws.standard_normal(5000).astype(np.float32)
    slopes = slopes if kind == np.float32 else (slopes.view(np.int32) >> 16).astype(np.int16)
    copy, second, mask = slopes.copy(), first * first, draws.random(5000) > 0.3
    numbers = (np.float32(number) for number in (0.1, 1e-8, 0.1, 0.999, 0.001))
    fused.update_row(True, False, weights, copy, slopes, mask, first, second, *numbers)
    print(hashlib.sha256(weights.tobytes() + first.tobytes() + second.tobytes() + copy.tobytes()).hexdigest())
"""


def test_an_update_gives_the_same_bits_compiled_now_and_loaded(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", UPDATE]
    said = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert said[0] == said[1] and len(said[0].split()) == 2


def test_compiling_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(fused.train_cell.stats), "cache_path", str(tmp_path), raising=False)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fused.compile_ahead(stop)
    assert not list(tmp_path.glob("*.compiled"))


def test_where_the_cache_is(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    script = "from aecompress.engines import fused; print(fused.train_cell.stats.cache_path)"
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.startswith(str(tmp_path))
