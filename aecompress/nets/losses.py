"""Losses: the value per element, and the gradient where the backward pass starts. Lower is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from aecompress.nets.layers import activation_of


class Loss(NamedTuple):
    """``value(out, target)`` per element; ``slope(out, target)`` its derivative by ``out``."""

    value: Callable[[Tensor, Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]


SATURATED = 1e-6
"""Cross-entropy takes outputs no nearer to 0 and 1: beyond it, float32 rounding would decide the loss."""


def _bce(out: Tensor, target: Tensor) -> Tensor:
    # torch's own refuses targets outside [0, 1], which held-out rows reach when the scaling was fitted on others.
    out = out.clamp(SATURATED, 1 - SATURATED)
    return -(target * out.log() + (1 - target) * torch.log1p(-out))


def _bce_slope(out: Tensor, target: Tensor) -> Tensor:
    return (out - target) / (out * (1 - out)).clamp_(min=1e-12)


LOSSES: dict[str, Loss] = {
    "l1": Loss(lambda out, target: (out - target).abs_(), lambda out, target: (out - target).sign_()),
    "mse": Loss(lambda out, target: (out - target).square_(), lambda out, target: (out - target).mul_(2)),
    "bce": Loss(_bce, _bce_slope),
    # Huber (1964) with the threshold at 1, as torch.nn.functional.huber_loss has it.
    "huber": Loss(
        lambda out, target: functional.huber_loss(out, target.expand_as(out), reduction="none"),
        lambda out, target: (out - target).clamp_(-1, 1),
    ),
}


def mean_loss(name: str, out: Tensor, target: Tensor) -> Tensor:
    """Return the loss of ``out`` ``[..., B, D]`` against ``target``, mean over rows and inputs: ``[...]``."""
    return LOSSES[name].value(out, target).mean((-2, -1))


def output_delta(name: str, activation: str, pre: Tensor, out: Tensor, target: Tensor, scale: float) -> Tensor:
    """Return the gradient of ``scale`` x (summed loss) at the output before its activation, ``[P, B, D]``.

    Cross-entropy after a sigmoid is (out - target), which stays exact where the sigmoid saturates.
    """
    if name == "bce" and activation == "sigmoid":
        return (out - target).mul_(scale)
    slope = LOSSES[name].slope(out, target).mul_(scale)
    result: Tensor = activation_of(activation).backward(slope, pre, out)
    return result


def finite_or_inf(loss: Tensor) -> Tensor:
    """Replace every non-finite value of the loss by +infinity, so that a broken cell can never win."""
    return loss.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
