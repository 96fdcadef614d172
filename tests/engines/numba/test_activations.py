"""The activations that are not NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from aecompress.engines.numba.activations import sigmoid_row


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
