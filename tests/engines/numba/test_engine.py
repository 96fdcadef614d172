"""A compiled pass computes what an eager one does, cell by cell the same bits, and so does compiled evaluation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.engines import eager, workers
from aecompress.engines.base import Work
from aecompress.engines.numba import cell, engine, layout, pieces, shuffle, steps
from aecompress.engines.numba.activations import LOSSES
from aecompress.nets.rows import StoredTensor
from aecompress.polling import no_poll
from aecompress.population.state import Population
from tests.engines.numba.networks import (
    NOTHING,
    ROWS,
    assert_equal,
    compiled_pass,
    eager_pass,
    net_of,
    rules,
    start,
    work_of,
)
from tests.nets.stored import Array


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("latent", "output", "hidden"),
    [("relu", "sigmoid", "relu"), ("identity", "identity", "leaky-relu"), ("tanh", "sigmoid", "gelu")],
)
def test_a_compiled_pass_equals_an_eager_one(optimizer: str, loss: str, latent: str, output: str, hidden: str) -> None:
    if loss == "bce":
        output = "sigmoid"
    net, rule = net_of(latent, output, hidden), rules(optimizer, loss=lambda generation: loss)
    population = start(net, optimizer)
    assert_equal(compiled_pass(net, rule, population), eager_pass(net, rule, population))


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
@pytest.mark.parametrize("batch", [1, 2, 4, 5, 7, 10, 33, 64, 98, 103, 200])
def test_every_batch_size_and_a_smaller_last_batch(optimizer: str, batch: int) -> None:
    net, rule = net_of(size=11), rules(optimizer, batch=batch)
    population = start(net, optimizer, batch=min(batch, len(ROWS)))
    assert_equal(compiled_pass(net, rule, population), eager_pass(net, rule, population))


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_masks_hold_to_the_bit_where_they_last_and_only_there(optimizer: str) -> None:
    net, population = net_of(), start(net_of(), optimizer)
    kept = compiled_pass(net, rules(optimizer, persistent_masks=True), population)
    assert not bool(kept.weights[~population.masks].any())
    free = compiled_pass(net, rules(optimizer, persistent_masks=False), population)
    assert bool(free.weights[~population.masks].any())


@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_cell_has_the_same_bits_in_any_block_and_a_pass_in_any_parts(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, rule, population = net_of(), rules(optimizer), start(net_of(), optimizer, size=5)
    whole = compiled_pass(net, rule, population)
    for cells in ([0], [3, 1], [4]):
        index = torch.tensor(cells)
        block = population.pick(index)
        for part in (range(4), range(4, 18)):
            engine.train(work_of(net, rule, block, steps=part))
        assert torch.equal(block.weights, whole.weights[index])
    monkeypatch.setattr(engine, "CALL_FLOP", 1)
    assert torch.equal(compiled_pass(net, rule, population).weights, whole.weights)


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
            engine.train(work_of(net, rule, block, steps=part, rows=rows))
        return block

    monkeypatch.setattr(workers, "cores", lambda: 1)
    whole = trained([0, 1, 2, 3], range(51))
    jobs_seen: list[int] = []
    each = workers.each
    monkeypatch.setattr(workers, "each", lambda work, jobs: (jobs_seen.append(len(jobs)), each(work, jobs))[1])
    for cores, cells, jobs in ((2, [3], 2), (5, [0, 2, 1], 6), (2, [1, 3], 2), (2, [0, 1, 2], 3)):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        block = trained(cells, range(17), range(17, 51))
        for name, tensor in block.tensors().items():
            assert torch.equal(tensor, whole.pick(torch.tensor(cells)).tensors()[name]), name
        assert jobs_seen == 2 * [len(cells), len(cells), jobs]  # counting, shuffling and training, for each part
        jobs_seen.clear()
    monkeypatch.setattr(engine, "CALL_FLOP", 1)  # a call for every step
    for cores in (1, 5):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        assert torch.equal(trained([0, 1, 2, 3], range(51)).weights, whole.weights)


@pytest.mark.parametrize("batch", [6, 40])
def test_a_lost_cell_stays_lost_and_alone(batch: int) -> None:
    net, rule, population = net_of(), rules("adam", batch=batch), start(net_of(), "adam", batch=batch)
    well = compiled_pass(net, rule, population)
    population.weights[1, 3] = torch.nan
    got = compiled_pass(net, rule, population)
    assert not bool(got.weights[1].isfinite().all())
    losses = engine.evaluate(net, got.weights, [ROWS], "l1", NOTHING).losses[0]
    assert losses.isfinite().tolist() == [True, False, True]
    assert torch.equal(got.weights[[0, 2]], well.weights[[0, 2]])


@pytest.mark.parametrize("metric", LOSSES)
def test_compiled_evaluation_equals_eager_evaluation(metric: str) -> None:
    net, population = net_of(), start(net_of(), "adam")
    parts = [ROWS, ROWS[:7]]
    got = engine.evaluate(net, population.weights, parts, metric, NOTHING)
    wanted = eager.evaluate(net, population.weights, parts, metric, NOTHING)
    for one, other in zip(got.losses, wanted.losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert torch.equal(got.layer_zeros, wanted.layer_zeros)
    assert int(got.layer_zeros.sum()) == int((population.weights == 0).sum())


def test_poll_may_stop_a_compiled_pass() -> None:
    def stop() -> None:
        raise InterruptedError

    net, population = net_of(), start(net_of(), "adam")
    before = population.weights.clone()
    with pytest.raises(InterruptedError):
        engine.train(Work(net, rules("adam"), population, ROWS, range(9), stop))
    assert torch.equal(population.weights, before)


def test_nothing_is_compiled_after_the_warming_whatever_is_trained() -> None:
    functions = (
        cell.train_cell, cell.evaluate_cell, pieces.train_shared, shuffle.count_words, shuffle.sort_groups,
        layout.load_row,
        steps.update_cells, steps.add_bias_and_activate, steps.output_gradient, steps.hidden_gradient,
    )  # fmt: skip
    engine.warm()
    before = [len(function.signatures) for function in functions]
    for optimizer in ("adam", "fresh-adam"):
        for loss in ("l1", "mse"):
            net, rule = net_of(), rules(optimizer, loss=lambda generation, loss=loss: loss)
            population = start(net, optimizer)
            for stats in (population.stats, None):
                compiled_pass(net, rule, dataclasses.replace(population, stats=stats))
                long = dataclasses.replace(rule, batch=50)
                large = start(net, optimizer, batch=50)
                compiled_pass(net, long, large if stats else dataclasses.replace(large, stats=None))
            for products in (None, torch.bfloat16):
                half = dataclasses.replace(rule, products=products)
                eager_pass(net, half, population, update=steps.masked_update, gradient=steps.gradient)
            engine.evaluate(net, population.weights, [ROWS], loss, NOTHING)
    assert [len(function.signatures) for function in functions] == before
    assert all(before)


def test_rows_that_are_stored_give_the_bits_of_rows_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "READ_VALUES", 100)
    monkeypatch.setattr(engine, "FEWEST_TURNS", 1)
    stored = StoredTensor(Array(ROWS.numpy()), torch.float32)
    for batch in (5, 50):
        net, rule = net_of(), rules("adam", batch=batch)
        population = start(net, "adam", batch=batch)
        for name, tensor in compiled_pass(net, rule, population).tensors().items():
            assert torch.equal(tensor, compiled_pass(net, rule, population, rows=stored).tensors()[name]), name
        here, there, both = (
            engine.evaluate(net, population.weights, parts, "mse", no_poll)
            for parts in ([ROWS], [stored], [stored, ROWS])
        )
        assert torch.equal(here.losses[0], there.losses[0]) and torch.equal(here.layer_zeros, both.layer_zeros)
        assert torch.equal(both.losses[0], here.losses[0]) and torch.equal(both.losses[1], here.losses[0])
