from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from aecompress.nets.layers import ACTIVATIONS
from aecompress.nets.losses import LOSSES, finite_or_inf, mean_loss, output_delta

TORCH = {
    "l1": functional.l1_loss,
    "mse": functional.mse_loss,
    "bce": functional.binary_cross_entropy,
    "huber": functional.huber_loss,
}


def test_the_oracle_covers_every_loss() -> None:
    assert set(TORCH) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_mean_loss_equals_torch_per_cell(name: str) -> None:
    out, target = torch.rand(3, 4, 5), torch.rand(3, 4, 5)
    expected = torch.stack([TORCH[name](out[cell], target[cell]) for cell in range(3)])
    torch.testing.assert_close(mean_loss(name, out, target), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_output_delta_equals_autograd(name: str, activation: str) -> None:
    if name == "bce" and activation == "identity":
        pre = torch.rand(2, 4, 5).double() * 0.8 + 0.1
    else:
        pre = torch.randn(2, 4, 5).double() * 2
    target = (torch.rand(2, 4, 5) > 0.5).double()
    leaf = pre.clone().requires_grad_()
    for cell in range(2):
        TORCH[name](ACTIVATIONS[activation].apply(leaf[cell] * 1), target[cell]).backward()
    out = ACTIVATIONS[activation].apply(pre.clone())
    delta = output_delta(name, activation, pre, out, target, 1 / 20)
    torch.testing.assert_close(delta, leaf.grad)


def test_cross_entropy_takes_held_out_rows_outside_the_unit_range() -> None:
    out, target = torch.full((1, 1, 2), 0.25), torch.tensor([[[-1.0, 2.0]]])
    assert bool(mean_loss("bce", out, target).isfinite().all())
    sure = torch.tensor([[[0.0, 1.0]]])
    assert mean_loss("bce", sure, sure).tolist() == pytest.approx([1e-6], rel=0.1)
    assert mean_loss("bce", sure, 1 - sure).tolist() == pytest.approx([-math.log(1e-6)], rel=0.01)


def test_cross_entropy_after_a_saturated_sigmoid_still_has_a_gradient() -> None:
    pre = torch.full((1, 1, 2), 200.0)
    target = torch.tensor([[[0.0, 1.0]]])
    assert output_delta("bce", "sigmoid", pre, torch.sigmoid(pre), target, 1.0).tolist() == [[[1.0, 0.0]]]


def test_a_loss_that_is_not_finite_becomes_infinity_and_never_wins() -> None:
    loss = finite_or_inf(torch.tensor([torch.nan, -torch.inf, torch.inf, 3.0]))
    assert loss.tolist() == [torch.inf, torch.inf, torch.inf, 3.0]
    assert int(loss.argmin()) == 3
