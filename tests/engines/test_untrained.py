"""An engine without training evaluates all the same."""

from __future__ import annotations

import torch

from aecompress.engines.registry import ENGINES
from aecompress.engines.untrained import Untrained, untrained_blocks
from tests.engines.test_registry import LOADS, NOTHING, ROWS, passed, start
from tests.modules import small_net


def test_an_untrained_engine_evaluates_and_leaves_the_weights_alone() -> None:
    under = Untrained(ENGINES["numba-passes"])
    assert under.name == "no training"
    before = start()
    for name, tensor in passed(under, before).tensors().items():
        assert torch.equal(tensor, before.tensors()[name]), name
    losses = under.evaluate(small_net(), before.weights, [ROWS], "mse", NOTHING).losses[0]
    assert losses.shape == (3,)


def test_without_training_no_cells_are_shared_out() -> None:
    for name, engine in ENGINES.items():
        blocks = engine.layout(LOADS[0])
        found = untrained_blocks(blocks, LOADS[0])
        assert found.cells == blocks.cells and (found == blocks) == (blocks.cores_take != "cells"), name
        assert found.cores_take != "cells"
