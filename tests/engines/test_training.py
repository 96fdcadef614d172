"""The numbers of training that no engine decides."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress import rng
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import batch_of, row_order, steps_per_generation, walk_rates
from tests.engines.cuda.cases import Case, work_of
from tests.engines.test_eager import ROWS, TRAINING, population


def test_a_walk_adds_one_normal_draw_per_cell_and_generation_within_its_bounds() -> None:
    new = population()
    new.generation = 3
    walk_rates(dataclasses.replace(TRAINING, walk=1e-3), new)
    for cell in range(3):
        step = rng.normal(5, "rate-walk", 2, torch.tensor([cell]), 0, ())
        assert new.learning_rate[cell] == pytest.approx(max(0.01 + 1e-3 * float(step), 1e-9), rel=1e-6)
    before = new.learning_rate.clone()
    walk_rates(TRAINING, new)
    assert torch.equal(new.learning_rate, before)


def test_the_batches_of_a_pass_have_every_row_once() -> None:
    order = row_order(TRAINING, 3, torch.tensor([0, 4]), ROWS)
    assert torch.equal(order, rng.permutation(5, "batches", 3, torch.tensor([0, 4]), 0, 23))
    batches = [batch_of(TRAINING, ROWS, order, step) for step in range(steps_per_generation(23, 5))]
    assert [batch.shape for batch in batches] == [(2, 5, 12)] * 4 + [(2, 3, 12)]
    assert torch.equal(torch.cat(batches, 1), ROWS[order])


@pytest.mark.parametrize("name", ["eager", "cuda-graphs"])
def test_products_are_rounded_in_training_alone(name: str) -> None:
    work, seen = work_of(Case()), list[str]()

    def poll() -> None:
        seen.append(torch.backends.cuda.matmul.fp32_precision)

    before = torch.backends.cuda.matmul.fp32_precision
    short = dataclasses.replace(work, training=dataclasses.replace(work.training, tf32=True), poll=poll)
    ENGINES[name].train(short)
    assert set(seen) == {"tf32"} and torch.backends.cuda.matmul.fp32_precision == before
    ENGINES[name].evaluate(work.net, work.block.weights, [work.rows], "mse", poll)
    ENGINES[name].train(dataclasses.replace(work, poll=poll))
    assert set(seen[len(work.steps) :]) == {before}
