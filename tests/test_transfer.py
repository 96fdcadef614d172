from __future__ import annotations

import torch

from aecompress.transfer import on_device

CPU = torch.device("cpu")


def test_numbers_arrive_whole_and_in_their_format() -> None:
    assert on_device([-(1 << 63), 5], CPU).tolist() == [-(1 << 63), 5]
    assert on_device([True, False], CPU).dtype == torch.bool
    assert on_device([0.5, 0.25], CPU).dtype == torch.float32
    assert on_device([], CPU, torch.int64).dtype == torch.int64
    assert on_device([(1, 2), (3, 4)], CPU).shape == (2, 2)
