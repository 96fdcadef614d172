"""Patches are laid and added up as torch's own unfold and fold do it, and over one axis as over two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from aecompress.engines.numba.unfold import Axis, fold, patches_of, unfold

CASES = [
    # high, wide, kernel, stride, padding, dilation
    (7, 7, (3, 3), (2, 2), (1, 1), (1, 1)),
    (6, 9, (3, 2), (1, 2), (1, 0), (1, 1)),
    (9, 8, (3, 3), (2, 1), (2, 2), (2, 2)),
    (8, 8, (2, 2), (3, 3), (0, 0), (1, 1)),  # some places in no patch
    (5, 5, (5, 5), (1, 1), (4, 4), (1, 1)),  # patches that reach over both ends
    (1, 11, (1, 4), (1, 3), (0, 2), (1, 1)),
]


@pytest.mark.parametrize("units", [1, 3, 8, 16, 21, 40])
@pytest.mark.parametrize("case", CASES)
def test_patches_are_torchs(case: tuple[int, int, tuple[int, ...]], units: int) -> None:
    high, wide, *numbers = case
    kernel, stride, padding, dilation = numbers
    sizes = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((high, wide), *numbers, strict=True)  # type: ignore[call-overload]
    ]
    axes = [Axis(*one) for one in zip((high, wide), sizes, *numbers, strict=True)]  # type: ignore[call-overload]
    tables = patches_of(axes, units)
    draw = torch.Generator().manual_seed(1)
    rows = torch.rand(3, units, high, wide, generator=draw)
    options = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}

    def first(patches: torch.Tensor) -> torch.Tensor:  # ours, [B, places x taps x units], as torch has them
        return patches.view(3, -1, kernel[0] * kernel[1], units).permute(0, 3, 2, 1).flatten(1, 2)

    values = np.ascontiguousarray(rows.movedim(1, -1).flatten(1).numpy())
    patches = np.full((3, sizes[0] * sizes[1] * kernel[0] * kernel[1] * units), np.nan, np.float32)
    unfold(tables, values, patches)
    assert torch.equal(first(torch.from_numpy(patches)), functional.unfold(rows, **options))

    patches = torch.rand(patches.shape, generator=draw)
    added = np.full(values.shape, np.nan, np.float32)
    fold(tables, patches.numpy(), added)
    wanted = functional.fold(first(patches), (high, wide), **options).movedim(1, -1).flatten(1)
    torch.testing.assert_close(torch.from_numpy(added), wanted, rtol=1e-5, atol=1e-6)


def test_one_axis_is_two_of_which_one_has_one_place() -> None:
    alone = patches_of([Axis(9, 4, 3, 2, 0, 1)], 3)
    both = patches_of([Axis(1, 1, 1, 1, 0, 1), Axis(9, 4, 3, 2, 0, 1)], 3)
    assert all(np.array_equal(one, other) for one, other in zip(alone, both, strict=True))
