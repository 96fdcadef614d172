"""How a population is divided: blocks fit a cache, and no core is left without work."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.engines import blocks as blocks_module
from aecompress.engines import workers
from aecompress.engines.base import Blocks
from aecompress.engines.registry import ENGINES
from tests.plan.test_engine import load_of


def test_a_small_step_takes_one_thread_and_a_large_one_all() -> None:
    engine = ENGINES["eager"]
    one = dataclasses.replace(load_of(), cells=1)
    assert engine.layout(dataclasses.replace(one, batch=1)).threads == 1
    assert engine.layout(dataclasses.replace(one, batch=1_000_000)) == Blocks(
        engine.layout(one).cells, "operations", None
    )
    assert engine.layout(dataclasses.replace(one, batch=1_000_000, cells=2)).threads == 1  # each core has a block


def test_blocks_fit_a_cache_and_leave_no_core_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    eager, passes = ENGINES["eager"], ENGINES["numba-passes"]
    small = load_of()
    large = load_of(model__hidden=[1024], model__latent=256)
    few, many = dataclasses.replace(small, batch=5), dataclasses.replace(small, batch=256)
    assert eager.layout(few).cells * 4 * small.net.layout.size <= blocks_module.BLOCK_BYTES
    assert eager.layout(dataclasses.replace(large, batch=256)) == Blocks(1, "blocks", 1)
    assert eager.layout(dataclasses.replace(large, batch=256, cells=1)) == Blocks(1, "operations", None)
    blocks = eager.layout(many)
    assert blocks.cores_take == "blocks" and blocks.cells <= -(-10 // workers.cores())
    cuda = dataclasses.replace(few, device=torch.device("cuda"))
    assert eager.layout(cuda) == Blocks(10, "operations", None)
    assert passes.layout(few).cells >= 10
    monkeypatch.setattr(workers, "cores", lambda: 3)
    for load in (few, dataclasses.replace(large, batch=5)):
        blocks = passes.layout(load)
        assert blocks.cells % 3 == 0 and (blocks.cores_take, blocks.threads) == ("cells", 1)
