from __future__ import annotations

import torch

from aecompress.plan.rows import sampled


def test_a_generation_is_evaluated_on_a_tenth_of_the_rows_within_bounds() -> None:
    rows = torch.arange(5000.0)[:, None]
    assert len(sampled(rows, 5000, 0, "x")) == 500
    assert len(sampled(rows, 10, 0, "x")) == 64
    assert sampled(rows[:50], 5000, 0, "x").equal(rows[:50])
    some = sampled(rows, 5000, 0, "x")[:, 0]
    assert some.equal(some.unique()) and not some.equal(sampled(rows, 5000, 1, "x")[:, 0])
