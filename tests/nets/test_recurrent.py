"""LSTM and GRU of a whole population beside torch's own modules, one for each cell, both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aecompress.layers.base import BoundLayer, bind
from aecompress.layers.dense import Dense
from aecompress.layers.recurrent import Gru, Lstm, Repeat
from aecompress.nets import recurrent
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import backward, forward
from aecompress.nets.shapes import Layout, build

KINDS: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "lstm": (Lstm, nn.LSTM, recurrent.lstm_forward, recurrent.lstm_record, recurrent.lstm_backward),
    "gru": (Gru, nn.GRU, recurrent.gru_forward, recurrent.gru_record, recurrent.gru_backward),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(("cells", "rows", "steps"), [(3, 5, 7), (1, 4, 1), (2, 1, 3)])
def test_values_and_gradients_are_those_of_a_module_for_each_cell(
    kind: str, sequences: bool, cells: int, rows: int, steps: int
) -> None:
    make, module, forward, record, backward = KINDS[kind]
    layer = BoundLayer(make("a", 6, sequences=sequences), (steps, 4))
    random = torch.Generator().manual_seed(cells)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    weight, bias = drawn(cells, layer.inputs, layer.outputs), drawn(cells, 1, layer.outputs)
    below = drawn(cells, rows, steps, 4)
    out, left = record(layer, weight, bias, below)
    torch.testing.assert_close(forward(layer, weight, bias, below), out)
    delta = torch.randn(out.shape, generator=random, dtype=torch.float64)
    gradients = {"a.weight": torch.full_like(weight, torch.nan), "a.bias": torch.full_like(bias, torch.nan)}
    at_input = backward(layer, weight, gradients, left, delta.clone(), True)
    assert backward(layer, weight, gradients, left, delta.clone(), False) is None
    for cell in range(cells):
        one = module(4, 6, batch_first=True, dtype=torch.float64)
        own = layer.layer.to_torch(layer.given, weight[cell].numpy(), bias[cell, 0].numpy())
        one.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in own.items()})
        leaf = below[cell].clone().requires_grad_()
        values = one(leaf)[0] if sequences else one(leaf)[0][:, -1]
        torch.testing.assert_close(out[cell], values.detach())
        values.backward(delta[cell])
        torch.testing.assert_close(at_input[cell], leaf.grad)
        theirs = {name: parameter.grad.numpy() for name, parameter in one.named_parameters()}
        for mine, right in zip(gradients.values(), layer.layer.from_torch(layer.given, theirs), strict=True):
            torch.testing.assert_close(mine[cell].view(right.shape), torch.from_numpy(right))


@pytest.mark.parametrize("kind", KINDS)
def test_a_backward_pass_without_a_record_computes_it_again(kind: str) -> None:
    net = bind([KINDS[kind][0]("a", 3), KINDS[kind][0]("b", 2, sequences=False)], (4, 2))
    layout = Layout(net)
    weights, rows = torch.randn(2, layout.size), torch.randn(2, 5, 8)
    found = []
    for record in (True, False):
        trace, gradient = forward(net, layout.views(weights), rows, record=record), torch.full_like(weights, torch.nan)
        assert len(trace.recorded) == 2 * record
        backward(net, layout.views(weights), layout.views(gradient), rows, trace, torch.ones(2, 5, 2))
        found.append(gradient)
    torch.testing.assert_close(*found)


def test_the_variational_gradient_goes_through_a_repeated_code_as_by_autograd() -> None:
    encoder = [Gru("encoder.0", 4, sequences=False), Dense("encoder.1", 2, "identity")]
    net = build(encoder, [Repeat("decoder.0", 3), Gru("decoder.1", 2)], (3, 2), variational=True)
    assert net.log_variance is not None
    flat = torch.randn((2, net.layout.size), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, noise = torch.rand(2, 4, 6, dtype=torch.float64), torch.randn(2, 4, net.latent, dtype=torch.float64)
    leaf, grad = flat.clone().requires_grad_(), torch.full_like(flat, torch.nan)
    views = net.layout.views(leaf)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, noise, 0.0, loss="mse")
    *_, last, mean = forward(net.encoder, views, rows).out
    spread = forward([net.log_variance], views, last).out[0]
    divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(2)
    out = forward(net.decoder, views, mean + noise * torch.exp(0.5 * spread)).out[-1].flatten(2)
    ((out - rows).square().sum(2) + divergence).mean(1).sum().backward()
    torch.testing.assert_close(grad, leaf.grad)


def test_a_repeated_code_gets_the_gradient_of_all_its_steps() -> None:
    layer, empty = BoundLayer(Repeat("a", 3), (4,)), torch.zeros(2, 0, 0)
    below = torch.randn(2, 5, 4, requires_grad=True)
    out = recurrent.repeat_forward(layer, empty, empty, below)
    assert out.shape == (2, 5, 3, 4) and all(torch.equal(out[:, :, step], below) for step in range(3))
    delta = torch.randn(out.shape)
    out.backward(delta)
    torch.testing.assert_close(recurrent.repeat_backward(layer, empty, {}, below, delta, True), below.grad)
    assert recurrent.repeat_backward(layer, empty, {}, below, delta, False) is None
