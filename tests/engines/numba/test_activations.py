"""The activations that are not NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from aecompress.engines.numba.activations import ACTIVATIONS, activate, activation_backward, sigmoid_row
from tests.modules import MODULES


def test_the_sigmoid_is_exact_to_rounding_and_keeps_not_a_number() -> None:
    x = np.linspace(-100, 100, 40001).astype(np.float32)
    y, powers = np.empty_like(x), np.empty(len(x), np.int32)
    sigmoid_row(x, y, powers)
    middle = np.abs(x) < 80
    assert y[middle] == pytest.approx(expit(x[middle].astype(float)), rel=1e-6)
    assert y[-1] == 1 and 0 <= y[0] < 1e-37
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    sigmoid_row(odd, y[:3], powers[:3])
    assert np.isnan(y[0]) and y[1] == 1 and y[2] < 1e-37


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_and_its_gradient_equal_torchs_module(name: str) -> None:
    values = np.zeros((2, 32), np.float32)  # of which the last two columns are padding
    values[0, :30], values[1, :30] = np.linspace(-9, 8.9, 30), np.linspace(-90, 91, 30)
    grad = np.linspace(-1, 2, 64).astype(np.float32).reshape(2, 32)
    leaf = torch.from_numpy(values).requires_grad_()
    right = MODULES[name]()(leaf)
    right.backward(torch.from_numpy(grad))
    out, powers = np.empty_like(values), np.empty(32, np.int32)
    activate(ACTIVATIONS.index(name), 30, values, out, powers)
    assert out[:, :30] == pytest.approx(right.detach().numpy()[:, :30], rel=1e-5, abs=1e-6)
    assert not out[:, 30:].any()
    activation_backward(ACTIVATIONS.index(name), grad, values, out)
    assert grad[:, :30] == pytest.approx(leaf.grad.numpy()[:, :30], rel=1e-5, abs=2e-6)
