from __future__ import annotations

import pytest
import torch

from aecompress.errors import SpecError
from aecompress.layers.base import Layer, bind
from aecompress.layers.conv import Conv2d
from aecompress.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from aecompress.layers.dense import dense
from aecompress.nets.layers import ACTIVATIONS, activation_of, backward, forward, initial
from aecompress.nets.shapes import Layout
from tests.modules import MODULES, Plain, small_net

CELLS = torch.arange(4)


HIDDEN = ["relu", "leaky-relu", "gelu", "tanh", "silu", "leaky-relu:0.2"]


@pytest.mark.parametrize("activation", HIDDEN)
def test_stacked_forward_equals_single_modules(activation: str) -> None:
    net = small_net(activation)
    flat = initial(net.layers, net.layout, 3, CELLS)
    rows = torch.rand(4, 6, 12)
    stacked = forward(net.layers, net.layout.views(flat), rows).out[-1]
    for cell in range(4):
        torch.testing.assert_close(stacked[cell], Plain(net, flat[cell])(rows[cell]))


@pytest.mark.parametrize("activation", HIDDEN)
def test_backward_by_hand_equals_autograd(activation: str) -> None:
    net = small_net(activation)
    flat = initial(net.layers, net.layout, 3, CELLS).double()
    rows, delta = torch.rand(4, 6, 12).double(), torch.randn(4, 6, 12).double()
    grad = torch.full_like(flat, torch.nan)
    trace = forward(net.layers, net.layout.views(flat), rows)
    backward(net.layers, net.layout.views(flat), net.layout.views(grad), rows, trace, delta)

    leaf = flat.clone().requires_grad_()
    values = rows
    for layer in net.layers:
        weights = net.layout.views(leaf)
        values = torch.baddbmm(weights[layer.name + ".bias"], values, weights[layer.name + ".weight"])
        if layer is not net.layers[-1]:
            values = MODULES[layer.activation]()(values)
    values.backward(delta)
    torch.testing.assert_close(grad, leaf.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_activation_and_its_derivative_equal_those_of_torchs_module(dtype: torch.dtype) -> None:
    assert set(ACTIVATIONS) < set(MODULES)
    values = torch.tensor([*torch.linspace(-8, 8, 41).tolist(), -90.0, -30.0, 30.0, 90.0], dtype=dtype).view(1, 5, 9)
    values[0, 2, 2] = 0.125  # at 0 itself relu6 and others have two slopes
    grad = torch.linspace(-1, 2, 45).to(dtype).view(1, 5, 9)
    for name, module in MODULES.items():
        activation, leaf, pre = activation_of(name), values.clone().requires_grad_(), values.clone()
        right = module()(leaf)
        right.backward(grad)
        out = activation.apply(pre)
        torch.testing.assert_close(out, right, msg=name)
        torch.testing.assert_close(activation.backward(grad, pre, out), leaf.grad, msg=name)


def test_initial_weights_have_the_range_of_torch_linear() -> None:
    layers = (dense("encoder.0", 400, 50, "relu"), dense("encoder.1", 50, 20, "relu"))
    layout = Layout(layers)
    views = layout.views(initial(layers, layout, 0, CELLS))
    for layer in layers:
        bound = layer.inputs**-0.5
        for kind in ("weight", "bias"):
            values = views[f"{layer.name}.{kind}"]
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.9 * bound
            assert abs(float(values.mean())) < 0.15 * bound


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        (Conv2d("a", 12, "identity", (3,), padding=(1,)), (12, 12, 24)),
        (ConvTranspose2d("a", 12, "identity", (3,), (2,), (1,), (1,)), (12, 12, 24)),
        (ConvTranspose1d("a", 12, "identity", (5,), (4,)), (20, 24)),
    ],
)
def test_values_keep_their_variance_through_places(layer: Layer, given: tuple[int, ...]) -> None:
    (bound,) = bind([layer], given)
    layout = Layout([bound])
    flat = initial([bound], layout, 3, torch.arange(4), gain=3**0.5)
    flat[:, -12:] = 0  # biases
    rows = torch.randn(4, 16, *given, generator=torch.Generator().manual_seed(1))
    variance = float(forward([bound], layout.views(flat), rows).out[-1].var())
    assert 0.75 < variance < 1.15  # less at the ends, where the kernel reaches over


def test_initial_weights_of_a_cell_do_not_depend_on_the_others() -> None:
    net = small_net()
    alone = initial(net.layers, net.layout, 3, torch.tensor([2]))
    torch.testing.assert_close(alone[0], initial(net.layers, net.layout, 3, CELLS)[2], rtol=0, atol=0)


def test_layout_views_share_memory_and_cover_every_parameter_once() -> None:
    net = small_net()
    flat = torch.zeros(2, net.layout.size)
    for view in net.layout.views(flat).values():
        view += 1
    assert bool((flat == 1).all())
    assert net.model_size == net.layout.size == sum((layer.inputs + 1) * layer.outputs for layer in net.layers)


def test_an_unknown_activation_is_named_with_the_choices() -> None:
    with pytest.raises(SpecError, match="'swish'; choose one of identity, relu"):
        dense("encoder.0", 2, 2, "swish")
