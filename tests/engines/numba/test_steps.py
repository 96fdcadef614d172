"""What lies between the products of wide layers: compiled it gives the gradient that torch gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from aecompress.engines.numba import steps
from aecompress.engines.numba.activations import ACTIVATIONS, LOSSES
from aecompress.layers.dense import dense
from aecompress.nets.autoencoder import gradient
from aecompress.nets.shapes import Autoencoder
from aecompress.population.stats import activations
from tests.engines.numba.networks import ROWS, eager_pass, net_of, rules, start
from tests.modules import mirrored


def one_gradient(
    net: Autoencoder, cells: int, half: bool, loss: str, make: Any, rows: int = 13
) -> tuple[Any, torch.Tensor]:
    """The forward pass and the gradient, float32, of a few cells on a few noisy rows."""
    draw = torch.Generator().manual_seed(5)
    weights = 0.3 * torch.randn(cells, net.layout.size, generator=draw)
    batch, noise = torch.rand(2, cells, rows, ROWS.shape[1], generator=draw)
    weights = weights.to(torch.bfloat16) if half else weights
    slopes = torch.full_like(weights, torch.nan)
    views = net.layout.views(slopes)
    noise = noise[..., : net.latent] if variational(net) else noise
    trace = make(net, net.layout.views(weights), views, batch, noise, 0.1, loss=loss)
    return trace, slopes.float()


def variational(net: Autoencoder) -> bool:
    return net.log_variance is not None


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_a_compiled_gradient_equals_an_eager_one(hidden: str, output: str, loss: str, half: bool) -> None:
    plain = net_of("tanh", output)
    layer = plain.encoder[0]
    first = dense(layer.name, layer.inputs, layer.outputs, hidden)  # any, where layers are given one by one
    net = dataclasses.replace(plain, encoder=(first, plain.encoder[1]))
    for cells in (1, 3):
        seen, got = one_gradient(net, cells, half, loss, steps.gradient)
        known, wanted = one_gradient(net, cells, half, loss, gradient)
        for one, other in zip(activations(net, seen), activations(net, known), strict=True):
            torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=0.05 if half else 1e-5)
        # In bfloat16 a value near its target may come to lie on its other side, which turns that slope of l1 around.
        apart = (got - wanted).abs()
        assert float(apart.mean() if half else apart.max()) < (1e-2 if half else 3e-6) * float(wanted.abs().max())


def test_a_variational_gradient_is_the_eager_one() -> None:
    net = mirrored((9,), 5, ROWS.shape[1], variational=True)
    assert torch.equal(*(one_gradient(net, 2, False, "mse", make)[1] for make in (steps.gradient, gradient)))


def test_a_step_takes_no_new_memory_for_what_layers_give() -> None:
    net = net_of(hidden="gelu")
    first, _ = one_gradient(net, 2, False, "mse", steps.gradient)
    kept = [tensor.data_ptr() for tensor in first.pre + first.out]
    smaller, _ = one_gradient(net, 2, False, "mse", steps.gradient, rows=7)
    assert [tensor.data_ptr() for tensor in smaller.pre + smaller.out] == kept


def test_half_precision_products_learn_what_float32_learns() -> None:
    net, population = net_of(), start(net_of(), "adam")
    full, low = (eager_pass(net, rules("adam", products=products), population) for products in (None, torch.bfloat16))
    moved = float((full.weights - population.weights).abs().mean())
    assert 0 < float((full.weights - low.weights).abs().mean()) < 0.2 * moved
