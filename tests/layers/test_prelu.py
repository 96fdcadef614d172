"""A slope for each unit: torch's module is the oracle, and rules about units look past it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from aecompress.deploy import compact, reference
from aecompress.deploy.compact import chain_of
from aecompress.deploy.inspection import describe
from aecompress.evolve.select import hidden_layers, keep_units, per_unit
from aecompress.layers.dense import Dense
from aecompress.layers.prelu import Prelu
from aecompress.nets.autoencoder import gradient, tensors_of
from aecompress.nets.layers import initial
from aecompress.nets.shapes import Autoencoder, build
from tests.layers.nets import model_of


def prelu_net() -> Autoencoder:
    """6-5-prelu-2, 2-4-prelu-6."""
    encoder = [Dense("encoder.0", 5, "identity"), Prelu("encoder.1"), Dense("encoder.2", 2, "identity")]
    decoder = [Dense("decoder.0", 4, "identity"), Prelu("decoder.1"), Dense("decoder.2", 6, "sigmoid")]
    return build(encoder, decoder, (6,))


def test_training_begins_with_torchs_slope_and_its_gradient_is_that_of_torchs_modules() -> None:
    net = prelu_net()
    flat = initial(net.layers, net.layout, 3, torch.arange(2))
    tensors = tensors_of(net, flat[1])
    assert tensors["encoder.1.weight"].tolist() == [[0.25] * 5] and not tensors["encoder.1.bias"].numel()
    modules: list[nn.Module] = []
    for layer in net.layers:
        made = nn.PReLU(layer.units) if layer.kind == "prelu" else nn.Linear(layer.inputs, layer.outputs)
        own = layer.layer.to_torch(
            layer.given, *(tensors[f"{layer.name}.{part}"].numpy() for part in ("weight", "bias"))
        )
        made.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in own.items()})
        modules.append(made)
    rows = torch.rand(2, 9, 6)
    loss = (nn.Sequential(*modules, nn.Sigmoid())(rows[1]) - rows[1]).square().mean()
    loss.backward()
    grad = torch.full_like(flat, torch.nan)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss="mse")
    for layer, module in zip(net.layers, modules, strict=True):
        mine = net.layout.views(grad)[layer.name + ".weight"][1]
        torch.testing.assert_close(mine, module.weight.grad.t() if mine.shape[0] > 1 else module.weight.grad[None])


def test_a_slope_goes_with_its_unit_and_says_nothing_of_its_worth() -> None:
    net = prelu_net()
    assert [(a.name, b.name) for a, b in hidden_layers(net)] == [
        ("encoder.0", "encoder.2"), ("decoder.0", "decoder.2"),
    ]  # fmt: skip
    weights = torch.rand(1, net.layout.size)
    views = net.layout.views(weights)
    before = net.split_units(per_unit(net, weights))[0].clone()
    views["encoder.1.weight"].zero_()  # as relu: the unit is as much worth as before
    torch.testing.assert_close(net.split_units(per_unit(net, weights))[0], before)
    scores = torch.ones(1, net.units)
    scores[0, 3] = 0  # the fourth unit of the first layer
    masks = torch.ones((1, net.layout.size), dtype=torch.bool)
    kept = net.layout.views(keep_units(net, scores, masks, [1]))
    gone = {name: (~mask[0]).nonzero().tolist() for name, mask in kept.items() if not mask.all()}
    assert gone == {
        "encoder.0.weight": [[row, 3] for row in range(6)],
        "encoder.0.bias": [[0, 3]],
        "encoder.1.weight": [[0, 3]],
        "encoder.2.weight": [[3, 0], [3, 1]],
    }


def test_a_slope_of_zero_is_no_dead_unit() -> None:
    net = prelu_net()
    model = model_of(net, 0)
    model.tensors["encoder.1.weight"][:] = 0
    rows = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    small = compact.compact(chain_of(net.layers, model.tensors))
    assert small.layers[0].bound.units == 5
    np.testing.assert_allclose(compact.run(small, rows), reference.run(net.layers, model.tensors, rows), atol=1e-6)
    assert [(row["unfed"], row["unread"]) for row in describe(model)] == [(0, 0)] * 6


def test_one_slope_for_all_units_is_given_to_each() -> None:
    weight, bias = Prelu("a").from_torch((3,), {"weight": np.array([0.2], np.float32)})
    assert weight.shape == (1, 3) and weight.dtype == np.float32 and bias.shape == (0,)
    assert np.array_equal(weight, np.full((1, 3), 0.2, np.float32))
