from __future__ import annotations

import torch

from aecompress.transfer import on_device, on_host
from tests import pretended

CPU = torch.device("cpu")


def test_numbers_arrive_whole_and_in_their_format() -> None:
    assert on_device([-(1 << 63), 5], CPU).tolist() == [-(1 << 63), 5]
    assert on_device([True, False], CPU).dtype == torch.bool
    assert on_device([0.5, 0.25], CPU).dtype == torch.float32
    assert on_device([], CPU, torch.int64).dtype == torch.int64
    assert on_device([(1, 2), (3, 4)], CPU).shape == (2, 2)


def test_figures_are_read_as_each_would_be_alone() -> None:
    tensors = (
        torch.tensor([0.1, torch.inf]),
        torch.tensor([[(1 << 62) + 1, -3]]),
        torch.tensor([1e-300], dtype=torch.float64),
        torch.tensor([True]),
    )
    wanted = [tensor.tolist() for tensor in tensors]
    assert on_host(*tensors) == wanted
    with pretended.device():
        there = [tensor.to("cuda") for tensor in tensors]
        pretended.stops.clear()
        got = on_host(*there)
    assert got == wanted and pretended.stops.total() == 1
    assert [type(one) for one in (got[0][0], got[1][0][0])] == [float, int]
