"""Products of ATen as steps: linear layers and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from aecompress.deploy.pretrained.exported.place import Place, Steps, several, step
from aecompress.layers.base import Shape


def linear(place: Place) -> Steps:
    """Return ``x W^T + b``."""
    return [step(place, "linear", {"weight": place.constant(1), "bias": place.constant(2)})]


def matmul(place: Place) -> Steps:
    """Return the product of rows with a constant ``[in, out]``."""
    weight = place.constant(1) if place.get(0) is place.below else None
    if weight is None or weight.ndim != 2:
        raise place.refused("is a product with something else than a matrix [in, out]", "use torch.nn.Linear")
    return [step(place, "linear", {"weight": np.ascontiguousarray(weight.T)})]


def addmm(place: Place) -> Steps:
    """Return ``beta b + alpha x W``."""
    bias, weight = place.constant(0), place.constant(2)
    if weight is None or bias is None or bias.ndim != 1:
        raise place.refused("adds something else than a bias", "use torch.nn.Linear")
    alpha, beta = (factor(place, name) for name in ("alpha", "beta"))
    tensors = {
        "weight": (np.ascontiguousarray(weight.T) * alpha).astype(np.float32),
        "bias": (bias * beta).astype(np.float32),
    }
    return [step(place, "linear", tensors)]


def factor(place: Place, name: str) -> float:
    """Return a number that a product is multiplied by."""
    found: Any = place.node.kwargs.get(name, 1)
    return float(found)


def convolution(op: str, place: Place) -> Steps:
    """Return a convolution; padding "same" in numbers."""
    weight = place.constant(1)
    assert weight is not None
    stride, padding, dilation = (
        several(place.get(at, name, default), weight.ndim - 2) if name != "padding" or not text_of(place) else ()
        for at, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    if text_of(place):
        padding = same(place, weight.shape[2:], dilation)
    numbers = {"stride": stride, "padding": padding, "dilation": dilation, "groups": place.get(6, "groups", 1)}
    return [step(place, op, {"weight": weight, "bias": place.constant(2, "bias")}, **numbers)]


def text_of(place: Place) -> str:
    """Return the padding of a convolution where it is a word."""
    found = place.get(4, "padding", 0)
    return found if isinstance(found, str) else ""


def same(place: Place, kernel: Shape, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Return the zeros on each side under padding "same" or "valid".

    Raises:
        DataError: there are more on one side than on the other.
    """
    if text_of(place) == "valid":
        return (0,) * len(kernel)
    both = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if any(each % 2 for each in both):
        raise place.refused("pads one side more than the other", "use a kernel of odd size")
    return tuple(each // 2 for each in both)


def transposed(op: str, place: Place) -> Steps:
    """Return a transposed convolution."""
    weight = place.constant(1)
    assert weight is not None
    names = (("stride", 3, 1), ("padding", 4, 0), ("output_padding", 5, 0), ("dilation", 7, 1))
    numbers: dict[str, Any] = {
        name: several(place.get(at, name, default), weight.ndim - 2) for name, at, default in names
    }
    numbers["groups"] = place.get(6, "groups", 1)
    return [step(place, op, {"weight": weight, "bias": place.constant(2, "bias")}, **numbers)]
