"""Compiled convolutions give the gradient that autograd gives, and the same bits whoever trains what with whom."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from aecompress.engines import eager, workers
from aecompress.engines.base import Workload
from aecompress.engines.numba import convolutions
from aecompress.engines.numba.activations import ACTIVATIONS
from aecompress.engines.numba_convolutions import NumbaConvolutions
from aecompress.layers.conv import Conv2d
from aecompress.layers.conv_transpose import ConvTranspose2d
from aecompress.layers.dense import Dense
from aecompress.layers.reshape import Permute, Reshape
from aecompress.nets.layers import forward
from aecompress.nets.losses import mean_loss
from aecompress.nets.places import as_rows
from aecompress.nets.shapes import Autoencoder, build
from aecompress.population.state import Population, new_population
from aecompress.population.stats import activations
from tests.engines.numba.networks import CPU, assert_equal, rules, work_of
from tests.layers import nets

ENGINE = NumbaConvolutions()


def pictures() -> Autoencoder:
    """Rows (5, 6) through strides and back through transposed convolutions, some wide enough for whole runs."""
    stride = {"stride": (2,), "padding": (1,)}
    encoder = [
        Reshape("encoder.0", (5, 6, 1)),
        Conv2d("encoder.1", 9, "relu", (3,), **stride),
        Conv2d("encoder.2", 20, "gelu", (3,), **stride),
        Dense("encoder.3", 3, "identity"),
    ]
    decoder = [
        Dense("decoder.0", 20, "relu", (2, 2)),
        ConvTranspose2d("decoder.1", 9, "relu", (3,), **stride),
        ConvTranspose2d("decoder.2", 1, "identity", (3, 4), (2,), (1,)),
        Reshape("decoder.3", (5, 6), "sigmoid"),
    ]
    return build(encoder, decoder, (5, 6))


def colours() -> Autoencoder:
    """Rows (2, 3, 4), channels first: the axes are moved at both ends."""
    encoder = [Permute("encoder.0", (1, 2, 0)), Conv2d("encoder.1", 3, "relu", (2,))]
    decoder = [ConvTranspose2d("decoder.0", 2, "identity", (2,)), Permute("decoder.1", (2, 0, 1), "sigmoid")]
    return build(encoder, decoder, (2, 3, 4))


COMPILED = {
    "colours": colours(),
    "images": nets.net_of("images"),
    "series": nets.net_of("series"),
    "pictures": pictures(),
}


def load_of(net: Autoencoder, **changes: Any) -> Workload:
    return dataclasses.replace(Workload(net, CPU, "float32", "plain", "adam", 40, 2, 9), **changes)


def autograd(net: Autoencoder, weights: torch.Tensor, rows: torch.Tensor, loss: str) -> torch.Tensor:
    """The gradient of every cell's loss, in double precision, by autograd of the forward pass."""
    leaf = weights.double().requires_grad_()
    out = forward(net.layers, net.layout.views(leaf), rows.double()).out[-1]
    mean_loss(loss, as_rows(out), rows.double()).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def gradient_of(net: Autoencoder, weights: torch.Tensor, rows: torch.Tensor, **given: Any) -> tuple[Any, torch.Tensor]:
    slopes = torch.full_like(weights, torch.nan)
    views = net.layout.views(slopes)
    trace = convolutions.gradient(net, net.layout.views(weights), views, rows, None, 0.0, **{"loss": "mse", **given})
    return trace, slopes


def some(net: Autoencoder, batch: int, cells: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    weights = 0.3 * torch.randn(cells, net.layout.size, generator=draw)
    return weights, torch.rand(cells, batch, net.inputs, generator=draw)


@pytest.mark.parametrize(
    ("name", "batch", "loss"),
    [
        ("pictures", 70, "mse"),
        ("colours", 5, "mse"),
        ("images", 1, "l1"),
        ("series", 33, "bce"),
        ("pictures", 7, "huber"),
    ],
)
def test_a_compiled_gradient_is_that_of_autograd(name: str, batch: int, loss: str) -> None:
    net = COMPILED[name]
    weights, rows = some(net, batch)
    trace, got = gradient_of(net, weights, rows, loss=loss)
    wanted = autograd(net, weights, rows, loss)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    known = forward(net.layers, net.layout.views(weights), rows)
    for one, other in zip(activations(net, trace), activations(net, known), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_that_of_autograd(activation: str) -> None:
    encoder = [Reshape("encoder.0", (5, 4, 1)), Conv2d("encoder.1", 3, activation, (3,)), Dense("encoder.2", 2, "tanh")]
    decoder = [Dense("decoder.0", 3, activation, (5, 4)), Conv2d("decoder.1", 1, "identity", (3,), padding=(1,))]
    net = build(encoder, [*decoder, Reshape("decoder.2", (5, 4), "sigmoid")], (5, 4))
    weights, rows = some(net, 9)
    wanted = autograd(net, weights, rows, "mse")
    got = gradient_of(net, weights, rows)[1]
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=2e-5 * float(wanted.abs().max()))


def test_bits_do_not_depend_on_the_other_cells_on_cores_or_on_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    net = COMPILED["pictures"]
    weights, rows = some(net, 70, cells=3)
    whole = gradient_of(net, weights, rows)[1]
    assert torch.equal(gradient_of(net, weights[1:2].clone(), rows[1:2].clone())[1], whole[1:2])
    assert torch.equal(gradient_of(net, weights, rows, traced=False)[1], whole)
    monkeypatch.setattr(workers, "cores", lambda: 1)
    assert torch.equal(gradient_of(net, weights, rows)[1], whole)


def started(net: Autoencoder) -> Population:
    population = new_population(net, 3, 1, 1e-3, True, CPU, stats_batch=6)
    population.masks[:] = torch.rand(population.masks.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    population.weights.mul_(population.masks)
    return population


@pytest.mark.parametrize("noise", ["none", "input"])
def test_a_pass_is_that_of_the_eager_engine_whole_and_in_parts(noise: str) -> None:
    net = nets.net_of("series")
    rule = rules("adam", noise=noise, noise_level=0.2)
    rows = torch.rand(40, net.inputs, generator=torch.Generator().manual_seed(2))
    whole, parts, known = started(net), started(net), started(net)
    ENGINE.train(work_of(net, rule, whole, rows=rows))
    for steps in (range(3), range(3, 7)):
        ENGINE.train(work_of(net, rule, parts, rows=rows, steps=steps))
    eager.train(work_of(net, rule, known, rows=rows))
    assert_equal(whole, known)
    assert all(torch.equal(tensor, parts.tensors()[name]) for name, tensor in whole.tensors().items())
    assert not torch.equal(whole.weights, started(net).weights)


def test_what_cannot_be_compiled_is_said() -> None:
    for net in COMPILED.values():
        assert ENGINE.why_not(load_of(net)) == ""
    assert "pool" in ENGINE.why_not(load_of(nets.net_of("pooled")))
    inside = [Permute("decoder.0", (1, 0, 2)), Conv2d("decoder.1", 2, "identity", (1,))]
    within = build([Conv2d("encoder.0", 2, "relu", (1,))], inside, (3, 3, 2))
    assert "between layers" in ENGINE.why_not(load_of(within))
    series = nets.net_of("series")
    assert "float32" in ENGINE.why_not(load_of(series, precision="bf16"))
    assert "variational" in ENGINE.why_not(load_of(series, family="variational"))
    assert "penalty" in ENGINE.why_not(load_of(series, code_l1=0.1))
    grouped = Conv2d("encoder.0", 4, "relu", (1,), groups=2)
    net = build([grouped], [Conv2d("decoder.0", 2, "identity", (1,))], (3, 3, 2))
    assert "groups" in ENGINE.why_not(load_of(net))
    twice = [Conv2d("decoder.0", 2, "relu", (1,)), Reshape("decoder.1", (3, 3, 2), "sigmoid")]
    assert "after another" in ENGINE.why_not(load_of(build([Conv2d("encoder.0", 2, "relu", (1,))], twice, (3, 3, 2))))


def test_cores_take_cells_where_there_are_enough_of_them() -> None:
    load, cores = load_of(nets.net_of("series")), workers.cores()
    many = ENGINE.layout(dataclasses.replace(load, cells=cores + 3))
    assert (many.cells, many.cores_take, many.threads) == (1, "blocks", 1)
    assert cores == 1 or ENGINE.layout(dataclasses.replace(load, cells=1)).cores_take == "cells"
