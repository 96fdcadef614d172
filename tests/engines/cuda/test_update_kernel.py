"""The fused update, in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

from aecompress.engines import eager
from aecompress.engines.cuda import steps
from tests.engines.cuda.cases import OTHER, PLAIN, assert_close, needs_interpreter, work_of


@needs_interpreter
@pytest.mark.parametrize("name", ["adam", "fresh", "masks", "bf16"])
def test_the_fused_update_is_the_eager_one(name: str) -> None:
    from aecompress.engines.cuda.update_kernel import fused_update

    work = work_of((PLAIN | OTHER)[name])
    buffers = steps.new_buffers(work)
    found = []
    for update in (eager.masked_update, fused_update):
        steps.fill(buffers, work)
        for _ in work.steps[:-1]:
            steps.step(buffers, work.training.loss(0), work.training.batch, steps.Pieces(steps.torch_gradient, update))
        found.append((buffers.block.copy(), buffers.own.weights.clone()))
    assert_close(found[1][0], found[0][0], 3e-4 if name == "bf16" else 1e-5)
    torch.testing.assert_close(found[1][1], found[0][1])
    assert bool((found[1][0].weights[~work.block.masks] == 0).all())
