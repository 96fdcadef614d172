"""Windows in torch's numbers: a convolution with them gives what the window says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from aecompress.deploy.pretrained.windows import Window, fitted, fitted_transpose, outputs, same_padding, with_taps

WINDOWS = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    dilation=st.just(1),
)


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


@settings(max_examples=40, deadline=None)
@given(WINDOWS, st.integers(6, 9))
def test_padding_on_one_side_is_zeros_in_the_kernel(window: Window, size: int) -> None:
    rows, weight = drawn(2, 3, size), drawn(4, 3, window.kernel)
    expected = F.conv1d(F.pad(rows, (window.before, window.after)), weight, stride=window.stride)
    fit = fitted(size, window)
    assert fit is not None and expected.shape[2] == outputs(size, window)
    longer = torch.from_numpy(with_taps(weight.numpy(), [fit]))
    found = F.conv1d(rows, longer, stride=window.stride, padding=fit.padding)
    assert torch.allclose(found, expected)


@settings(max_examples=40, deadline=None)
@given(WINDOWS, st.integers(4, 7))
def test_ends_of_a_transposed_convolution_are_padding_and_zeros(window: Window, size: int) -> None:
    rows, weight = drawn(2, 3, size), drawn(3, 4, window.kernel)
    whole = F.conv_transpose1d(rows, weight, stride=window.stride)
    wanted = whole.shape[2] - window.before - window.after
    if wanted < 1:
        return
    fit = fitted_transpose(size, window, wanted)
    assert fit is not None
    longer = torch.from_numpy(with_taps(weight.numpy(), [fit]))
    found = F.conv_transpose1d(
        rows, longer, stride=window.stride, padding=fit.padding, output_padding=fit.output_padding
    )
    assert torch.allclose(found, whole[:, :, window.before : window.before + wanted])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "ends"), [(8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (5, 2, 3, (0, 0))]
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, ends: tuple[int, int]) -> None:
    window = same_padding(size, Window(kernel, stride))
    assert (window.before, window.after) == ends
    assert outputs(size, window) == -(-size // stride)


def test_a_dilated_kernel_has_no_place_for_zeros_between_its_taps() -> None:
    assert fitted(9, Window(3, dilation=2, after=1)) is None
    assert fitted_transpose(4, Window(3, dilation=2, after=1), 7) is None
