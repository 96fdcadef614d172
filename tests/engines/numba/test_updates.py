"""A compiled update equals an eager one, and has the same bits whether compiled or loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aecompress.engines import eager
from aecompress.engines.numba import steps
from tests.engines.numba.networks import assert_equal, net_of, rules, start


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_a_compiled_update_equals_an_eager_one(optimizer: str, half: bool) -> None:
    net = net_of(size=300)
    rule = rules(optimizer, products=torch.bfloat16 if half else None)
    population = start(net, optimizer)
    slopes = torch.randn(population.weights.shape, generator=torch.Generator().manual_seed(4)) * 1e-3
    ends = []
    for update in (eager.masked_update, steps.masked_update):
        block = population.pick(population.cells)
        kept = block.masks.float() if rule.persistent_masks else None
        own = eager.products_of(block, rule)
        for _ in range(3):
            own.gradient.copy_(slopes)
            update(block, own, kept, rule, 1.0, 1e-8)
        assert torch.equal(own.weights, block.weights.to(own.weights.dtype))
        ends.append(block)
    assert_equal(ends[1], ends[0], 1e-5)


UPDATE = """
import hashlib
import numpy as np
from aecompress.engines.numba.updates import Rule, Slopes, StepSize, Weights, update_row

draws = np.random.default_rng(0)
for kind in (np.float32, np.int16):
    weights, first = (draws.standard_normal(5000).astype(np.float32) for _ in range(2))
    slopes = draws.standard_normal(5000).astype(np.float32)
    slopes = slopes if kind == np.float32 else (slopes.view(np.int32) >> 16).astype(np.int16)
    copy, second, mask = slopes.copy(), first * first, draws.random(5000) > 0.3
    size, epsilon, rest1, beta2, rest2 = (np.float32(number) for number in (0.1, 1e-8, 0.1, 0.999, 0.001))
    row, rule = Weights(weights, mask, first, second), Rule(
        fresh=False, persistent=True, rest1=rest1, beta2=beta2, rest2=rest2
    )
    update_row(row, Slopes(slopes, copy), rule, StepSize(size, epsilon))
    print(hashlib.sha256(weights.tobytes() + first.tobytes() + second.tobytes() + copy.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_an_update_gives_the_same_bits_compiled_now_and_loaded(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", UPDATE]
    hashes = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert hashes[0] == hashes[1] and len(hashes[0].split()) == 2
