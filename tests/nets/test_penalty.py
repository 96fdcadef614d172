"""The penalty on the code: autograd of its formula is the oracle."""

from __future__ import annotations

import pytest
import torch

from aecompress.layers.base import Layer
from aecompress.layers.conv import Conv1d
from aecompress.layers.dense import Dense
from aecompress.layers.prelu import Prelu
from aecompress.layers.recurrent import Lstm, Repeat
from aecompress.layers.reshape import Reshape
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import forward
from aecompress.nets.penalty import reader_of
from aecompress.nets.shapes import Autoencoder, build

CODE_L1 = 0.7


def dense_parts() -> tuple[list[Layer], list[Layer], tuple[int, ...]]:
    return [Dense("e.0", 4, "tanh"), Dense("e.1", 7, "relu")], [Dense("d.0", 6, "identity")], (6,)


def conv_parts() -> tuple[list[Layer], list[Layer], tuple[int, ...]]:
    decoder: list[Layer] = [Prelu("d.0"), Conv1d("d.1", 2, "identity", (3,), padding=(1,))]
    return [Conv1d("e.0", 3, "relu", (3,), padding=(1,))], decoder, (5, 2)


def recurrent_parts() -> tuple[list[Layer], list[Layer], tuple[int, ...]]:
    return [Dense("e.0", 4, "relu")], [Repeat("d.0", 3), Lstm("d.1", 2)], (3, 2)


def turned_parts() -> tuple[list[Layer], list[Layer], tuple[int, ...]]:
    """The units of the code become others before they are read."""
    decoder: list[Layer] = [Reshape("d.0", (3, 2)), Dense("d.1", 6, "identity")]
    return [Dense("e.0", 6, "relu")], decoder, (6,)


def norms_of(net: Autoencoder, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The norm of the weights that read each unit of the code, ``[P, units]``, by a loop over these."""
    reader = reader_of(net)
    if reader is None:
        return torch.ones(())
    weight = weights[reader.name + ".weight"]
    reads = torch.from_numpy(reader.matrix.reads).expand(weight.shape[1:])
    return torch.stack([weight[:, reads == unit].square().sum(1).sqrt() for unit in range(reader.matrix.below)], 1)


@pytest.mark.parametrize("parts", [dense_parts, conv_parts, recurrent_parts, turned_parts])
def test_its_gradient_is_that_of_autograd(parts: object) -> None:
    assert callable(parts)
    net = build(*parts())
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn((2, net.layout.size), generator=generator).double() * 0.5
    rows = torch.randn((2, 5, net.inputs), generator=generator).double()
    grad = torch.full_like(flat, torch.nan)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss="mse", code_l1=CODE_L1)
    leaf = flat.clone().requires_grad_()
    weights = net.layout.views(leaf * 1)
    code = forward(net.encoder, weights, rows).out[-1]
    assert 0.1 < float((code > 0).double().mean()) < 0.9
    out = forward(net.decoder, weights, code.clone()).out[-1].flatten(2)
    norms = norms_of(net, weights)
    sums = code.abs().flatten(2, -2).sum(2) if code.ndim > 3 else code.abs()  # [P, B, units]
    penalty = (sums * norms[:, None] if norms.ndim else sums).sum(2)
    loss = ((out - rows).square().sum(2) + CODE_L1 * penalty).mean(1) / net.inputs
    loss.sum().backward()
    torch.testing.assert_close(grad, leaf.grad)


def test_units_that_nothing_reads_have_no_gradient_of_it() -> None:
    net = build(*dense_parts())
    flat = torch.randn((2, net.layout.size), generator=torch.Generator().manual_seed(0))
    net.layout.views(flat)["d.0.weight"][:, 3] = 0
    rows, grads = torch.randn(2, 5, 6), [torch.full_like(flat, torch.nan) for _ in range(2)]
    for grad, factor in zip(grads, (0.0, CODE_L1), strict=True):
        gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss="mse", code_l1=factor)
    without, with_it = (net.layout.views(grad) for grad in grads)
    assert torch.equal(with_it["d.0.weight"][:, 3], without["d.0.weight"][:, 3])
    assert torch.equal(with_it["e.1.weight"][:, :, 3], without["e.1.weight"][:, :, 3])
    assert not torch.equal(with_it["e.1.weight"], without["e.1.weight"])
