"""An engine without training evaluates all the same."""

from __future__ import annotations

import torch

from aecompress.engines.registry import ENGINES
from aecompress.engines.untrained import Untrained
from tests.engines.test_registry import LOADS, NOTHING, ROWS, passed, start
from tests.modules import small_net


def test_an_untrained_engine_evaluates_and_leaves_the_weights_alone() -> None:
    under = Untrained(ENGINES["numba-passes"])
    assert under.name == "no training" and under.compiled
    before = start()
    for name, tensor in passed(under, before).tensors().items():
        assert torch.equal(tensor, before.tensors()[name]), name
    assert under.layout(LOADS[0]).cores_take == "operations"
    losses = under.evaluate(small_net(), before.weights, [ROWS], "mse", NOTHING).losses[0]
    assert losses.shape == (3,)
