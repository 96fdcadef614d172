from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aecompress.nets.autoencoder import gradient, layer_zeros, reconstruction_loss, tensors_of
from aecompress.nets.layers import initial
from aecompress.nets.shapes import build
from tests.modules import MODULES, Plain, dense_layers, mirrored, row_of, small_net

CELLS = torch.arange(3)


@pytest.mark.parametrize("loss", ["l1", "mse", "bce", "huber"])
def test_gradient_equals_a_loop_over_torch_modules(loss: str) -> None:
    net = small_net("tanh")
    flat = initial(net.layers, net.layout, 1, CELLS).double()
    rows = torch.rand(3, 5, 12).double()
    grad = torch.full_like(flat, torch.nan)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss=loss)
    functions = {
        "l1": functional.l1_loss,
        "mse": functional.mse_loss,
        "bce": functional.binary_cross_entropy,
        "huber": functional.huber_loss,
    }
    for cell in range(3):
        module = Plain(net, flat[cell])
        functions[loss](module(rows[cell]), rows[cell]).backward()
        for linear in [*module.encoder, *module.decoder]:
            linear.weight.data, linear.bias.data = linear.weight.grad, linear.bias.grad
        torch.testing.assert_close(grad[cell], row_of(module))


@pytest.mark.parametrize("activation", ["tanh", "hard-swish"])
def test_denoising_reads_the_noisy_rows_and_is_scored_on_the_clean_ones(activation: str) -> None:
    net = small_net(activation)
    flat = initial(net.layers, net.layout, 1, CELLS)
    rows, noise = torch.rand(3, 5, 12), torch.randn(3, 5, 12)
    grad = torch.empty_like(flat)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, noise, 0.4, loss="mse")
    module = Plain(net, flat[0])
    functional.mse_loss(module(rows[0] + 0.4 * noise[0]), rows[0]).backward()
    torch.testing.assert_close(net.layout.views(grad)["encoder.0.weight"][0], module.encoder[0].weight.grad.T)


@pytest.mark.parametrize("activation", ["relu", "elu", "mish", "leaky-relu:0.2"])
def test_variational_gradient_equals_autograd(activation: str) -> None:
    net, activate = mirrored((7,), 3, 12, hidden_activation=activation, variational=True), MODULES[activation]()
    flat = initial((*net.layers, net.log_variance), net.layout, 1, CELLS).double()  # type: ignore[arg-type]
    rows, noise = torch.rand(3, 5, 12).double(), torch.randn(3, 5, 3).double()
    grad = torch.full_like(flat, torch.nan)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, noise, 0.0, loss="bce")

    leaf = flat.clone().requires_grad_()
    w = net.layout.views(leaf)
    hidden = activate(rows @ w["encoder.0.weight"] + w["encoder.0.bias"])
    mean = hidden @ w["encoder.1.weight"] + w["encoder.1.bias"]
    log_variance = hidden @ w["log_variance.weight"] + w["log_variance.bias"]
    code = mean + noise * torch.exp(log_variance / 2)
    out = torch.sigmoid(
        activate(code @ w["decoder.0.weight"] + w["decoder.0.bias"]) @ w["decoder.1.weight"] + w["decoder.1.bias"]
    )
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, torch.exp(log_variance / 2)), torch.distributions.Normal(0.0, 1.0)
    )
    summed = functional.binary_cross_entropy(out, rows, reduction="none").sum(2) + divergence.sum(2)
    summed.mean(1).sum().backward()
    torch.testing.assert_close(grad, leaf.grad)
    assert net.model_size == sum((layer.inputs + 1) * layer.outputs for layer in net.layers)
    assert net.layout.size == net.model_size + 8 * 3


def test_reconstruction_loss_over_chunks_equals_one_mean() -> None:
    net = small_net()
    flat = initial(net.layers, net.layout, 1, CELLS)
    rows = torch.rand(5000, 12)
    got = reconstruction_loss(net, net.layout.views(flat), rows, "l1")
    expected = torch.stack([functional.l1_loss(Plain(net, row)(rows), rows) for row in flat])
    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-7)


def test_build_layer_by_layer() -> None:
    net = build(dense_layers("encoder", [(9, "gelu"), (2, "tanh")]), dense_layers("decoder", [(30, "sigmoid")]), (30,))
    assert [(layer.name, layer.inputs, layer.outputs, layer.activation) for layer in net.layers] == [
        ("encoder.0", 30, 9, "gelu"),
        ("encoder.1", 9, 2, "tanh"),
        ("decoder.0", 2, 30, "sigmoid"),
    ]
    assert (net.latent, net.encoder_size, net.log_variance) == (2, 31 * 9 + 10 * 2, None)


def test_the_tensors_of_a_row_load_into_torch_modules_and_back() -> None:
    net = small_net()
    row = initial(net.layers, net.layout, 1, CELLS)[1]
    assert tensors_of(net, row)["encoder.0.weight"].shape == (12, 7)
    assert torch.equal(row_of(Plain(net, row)), row)


def test_zeros_are_counted_by_layer_however_many_cells_at_a_time() -> None:
    net = small_net("tanh")
    flat = initial(net.layers, net.layout, 1, CELLS)
    flat[:, ::3] = 0
    wanted = [[int((part == 0).sum()) for part in row.split(net.layer_sizes)] for row in flat[:, : net.model_size]]
    assert layer_zeros(net, flat).tolist() == layer_zeros(net, flat, 2).tolist() == wanted
