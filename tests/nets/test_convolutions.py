"""The hand-written backward pass of convolutions is torch's own modules', in groups, transposed, for many cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aecompress.layers.base import BoundLayer
from aecompress.layers.conv import Conv1d, Conv2d
from aecompress.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from aecompress.nets.convolutions import conv_backward, conv_forward, rounded_as_products

CASES: list[tuple[Any, tuple[int, ...], nn.Module]] = [
    (Conv2d("a", 6, "identity", (3, 2), (2, 1), (1, 0), (1, 2)), (7, 6, 4),
     nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2))),
    (Conv2d("a", 6, "identity", (3,), groups=2), (5, 5, 4), nn.Conv2d(4, 6, 3, groups=2)),
    (Conv1d("a", 4, "identity", (3,), (2,), groups=4), (9, 4), nn.Conv1d(4, 4, 3, 2, groups=4)),
    (ConvTranspose2d("a", 6, "identity", (3,), (2,), (1,), (1,)), (4, 5, 4), nn.ConvTranspose2d(4, 6, 3, 2, 1, 1)),
    (ConvTranspose1d("a", 4, "identity", (3,), (2,), groups=2), (5, 6), nn.ConvTranspose1d(6, 4, 3, 2, groups=2)),
]  # fmt: skip


@pytest.mark.parametrize(("own", "given", "module"), CASES)
def test_the_gradient_is_that_of_torchs_module(own: Any, given: tuple[int, ...], module: nn.Module) -> None:
    layer, draw = BoundLayer(own, given), torch.Generator().manual_seed(1)
    weight = torch.randn(2, layer.inputs, layer.outputs, generator=draw).double()
    bias = torch.randn(2, 1, layer.outputs, generator=draw).double()
    below = torch.randn(2, 3, *given, generator=draw).double()
    delta = torch.randn(2, 3, *layer.gives, generator=draw).double()
    gradients = {"a.weight": torch.full_like(weight, torch.nan), "a.bias": torch.full_like(bias, torch.nan)}
    values = conv_forward(layer, weight, bias, below)
    at_input = conv_backward(layer, weight, gradients, below, delta, True)
    assert at_input is not None
    for cell in range(2):
        tensors = own.to_torch(given, weight[cell].numpy(), bias[cell, 0].numpy())
        module.double().load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        module.zero_grad()
        rows = below[cell].movedim(-1, 1).requires_grad_()
        out = module(rows)
        torch.testing.assert_close(values[cell], out.movedim(1, -1))
        out.backward(delta[cell].movedim(-1, 1))
        slopes = own.to_torch(given, gradients["a.weight"][cell].numpy(), gradients["a.bias"][cell, 0].numpy())
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(torch.from_numpy(slopes[name]), parameter.grad)
        assert rows.grad is not None
        torch.testing.assert_close(at_input[cell], rows.grad.movedim(1, -1))
    alone = {name: slope[:1].clone() for name, slope in gradients.items()}
    assert conv_backward(layer, weight[:1], alone, below[:1], delta[:1], False) is None
    assert all(torch.equal(slope[0], gradients[name][0]) for name, slope in alone.items())


def test_a_gpu_convolves_as_it_multiplies_and_what_was_set_before_is_set_again() -> None:
    library: Any = torch.backends.cudnn
    before = library.conv.fp32_precision, library.deterministic
    with rounded_as_products(torch.device("cuda")):
        assert (library.conv.fp32_precision, library.deterministic) == ("ieee", True)
    assert (library.conv.fp32_precision, library.deterministic) == before
