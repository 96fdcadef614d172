"""Draws in one launch, in Triton's interpreter: the bits of the others."""

from __future__ import annotations

import pkgutil

import pytest
import torch

from aecompress import rng
from aecompress.engines.cuda.available import fused_draws
from aecompress.engines.registry import ENGINES
from tests.engines.cuda.cases import needs_interpreter


@needs_interpreter
@pytest.mark.parametrize("generation", [0, 7, 1 << 40])
def test_draws_in_one_launch_have_the_same_bits(generation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from aecompress.engines.cuda import draw_kernels

    monkeypatch.setattr(draw_kernels, "STRETCH", 16)
    cells, shape = torch.tensor([0, 3, 1 << 40]), (5, 9)
    key = (11, "noise", generation, cells, 2)
    wanted = [draw(*key, shape) for draw in (rng.bits, rng.uniform, rng.normal)]
    order = rng.permutation(*key, 40)
    monkeypatch.setitem(rng.FUSED, "cpu", "aecompress.engines.cuda.draw_kernels:drawn")
    for draw, numbers in zip((rng.bits, rng.uniform, rng.normal), wanted, strict=True):
        assert torch.equal(draw(*key, shape), numbers)
    assert torch.equal(rng.permutation(*key, 40), order)
    assert rng.bits(*key, (0,)).shape == (3, 0)


def test_the_row_of_a_gpu_names_its_draws_and_engines_add_none() -> None:
    assert ENGINES and all(isinstance(name, str) for name in rng.FUSED.values())
    assert pkgutil.resolve_name(rng.FUSED["cuda"]) is fused_draws
    assert fused_draws(1, torch.arange(2), 3, torch.int64) is None  # on a CPU
