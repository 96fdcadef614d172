"""The numbers of training that no engine decides."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress import rng
from aecompress.engines.training import walk_rates
from tests.engines.test_eager import TRAINING, population


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
