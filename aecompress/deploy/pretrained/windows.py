"""Windows of convolutions and pools: what any program writes, in the numbers that torch has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Window(NamedTuple):
    """The window of one axis."""

    kernel: int
    stride: int = 1
    before: int = 0
    """Zeros, or cut values of a transpose, before the first value."""
    after: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Return the values that the window reaches over."""
        return self.dilation * (self.kernel - 1) + 1


def same_padding(size: int, window: Window, lower: bool = False) -> Window:
    """Return a window on ``size`` values that pads them so that each stride gives one, TensorFlow's "same"."""
    total = max((-(-size // window.stride) - 1) * window.stride + window.span - size, 0)
    small, large = total // 2, total - total // 2
    return window._replace(before=large if lower else small, after=small if lower else large)


def outputs(size: int, window: Window) -> int:
    """Return how many values a window gives on ``size`` values."""
    return (size + window.before + window.after - window.span) // window.stride + 1


class Fitted(NamedTuple):
    """A window in torch's numbers: the same padding on both sides, and taps of zeros that the kernel gets more."""

    padding: int
    front: int = 0
    back: int = 0
    output_padding: int = 0


def fitted(size: int, window: Window) -> Fitted | None:
    """Return the window of a convolution or pool on ``size`` values in torch's numbers; None: it has none.

    A kernel with zeros in front reads as many values more before each window, which then is padded by as many more.
    """
    wanted = outputs(size, window)
    if outputs(size, window._replace(after=window.before)) == wanted:
        return Fitted(window.before)
    taps = abs(window.after - window.before)
    if taps % window.dilation:
        return None
    front = window.after > window.before
    count = taps // window.dilation
    return Fitted(max(window.before, window.after), front=count if front else 0, back=0 if front else count)


def fitted_transpose(size: int, window: Window, wanted: int) -> Fitted | None:
    """Return the window of a transposed convolution that gives ``wanted`` of its values, the first ones ``before`` cut.

    torch: outputs = (size - 1) * stride - 2 * padding + span + output_padding; a tap of zeros in front moves them by
    one.
    """
    rest = wanted - ((size - 1) * window.stride - 2 * window.before + window.span)
    if rest < 0:
        return Fitted(window.before - rest, front=-rest) if window.dilation == 1 else None
    if rest < max(window.stride, window.dilation):
        return Fitted(window.before, output_padding=rest)
    return Fitted(window.before, back=rest) if window.dilation == 1 else None


def with_taps(weight: Array, fits: Sequence[Fitted]) -> Array:
    """Return a kernel ``[a, b, *kernel]`` with zeros in front and behind on each axis."""
    return np.pad(weight, [(0, 0), (0, 0), *((fit.front, fit.back) for fit in fits)])
