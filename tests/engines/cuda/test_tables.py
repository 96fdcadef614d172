from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.engines.cuda import tables
from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.training import step_size
from tests.engines.cuda.cases import Case, work_of


@pytest.mark.parametrize("together", [1, 20, 1 << 14])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_the_tables_are_the_steps_sizes_and_epsilons(
    together: int, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "TOGETHER", together)
    training = dataclasses.replace(work_of(Case()).training, seed=together)
    for generation, steps in ((2, range(3, 6)), (3, range(7)), (0, range(4, 7)), (5, range(1, 2))):
        found = step_tables(training, generation, 7, steps, torch.empty(0, dtype=kind))
        assert found.shape == (len(steps), 2) and found.data_ptr() % 16 == 0
        wanted = [step_size(training, generation * 7 + step, 4 * 7) for step in steps]
        assert torch.equal(found, torch.tensor(wanted, dtype=kind))
