"""The fused gradient, in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

from aecompress.engines.cuda import graphs, steps
from tests.engines.cuda.cases import OTHER, PLAIN, Case, assert_close, needs_interpreter, work_of

CASES = PLAIN | OTHER | {"more rows than a turn": Case(batch=150, rows=200)}


@needs_interpreter
@pytest.mark.parametrize("name", [*PLAIN, "denoising", "bf16", "more rows than a turn"])
def test_the_fused_gradient_is_that_of_torch(name: str) -> None:
    from aecompress.engines.cuda.step_kernels import fused_gradient

    work, found = work_of(CASES[name]), []
    loss, batch = work.training.loss(0), work.training.batch
    for gradient in (steps.torch_gradient, fused_gradient):
        buffers = steps.new_buffers(work)
        steps.fill(buffers, work)
        buffers.own.gradient.fill_(7)
        for step in work.steps[:3]:
            size = min(batch, work.rows.shape[0] - step * batch)
            steps.step(buffers, loss, size, steps.Pieces(gradient, graphs.TORCH.update))
        found.append(buffers)
    half = name == "bf16"
    torch.testing.assert_close(
        found[1].own.gradient, found[0].own.gradient, rtol=1e-2 if half else 1e-4, atol=2e-4 if half else 1e-6
    )
    assert_close(found[1].block, found[0].block, 2e-3 if half else 1e-5)
