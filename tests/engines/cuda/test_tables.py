from __future__ import annotations

import torch

from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.training import step_size
from tests.engines.cuda.cases import Case, work_of


def test_the_tables_are_the_steps_sizes_and_epsilons() -> None:
    training = work_of(Case()).training
    found = step_tables(training, 2, 7, range(3, 6), torch.empty(0, dtype=torch.float64))
    assert found.shape == (3, 2)
    for place, step in enumerate(range(3, 6)):
        assert tuple(found[place].tolist()) == step_size(training, 2 * 7 + step, 4 * 7)
