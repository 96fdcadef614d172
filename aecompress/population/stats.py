"""The spread of activations over batches, which operators look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aecompress.nets.layers import Trace
from aecompress.nets.shapes import Autoencoder
from aecompress.nets.units import mean_of_units


def activations(net: Autoencoder, trace: Trace) -> list[Tensor]:
    """Return per layer with weights ``[P, B, units]``: hidden and latent units after their activation, outputs before.

    (A5.) Of a unit with several values on a row it is their mean.
    """
    last = net.weighted[-1]
    return [
        mean_of_units(pre if layer is last else out)
        for layer, pre, out in zip(net.layers, trace.pre, trace.out, strict=True)
        if layer.weighted
    ]


@dataclass
class ActivationStats:
    """Running sums of every unit's activation at each batch position; U units of all layers in order.

    Sums are float64, so that the variance as a difference of two sums keeps its digits; MPS, which has none, takes
    float32.
    """

    total: Tensor
    """``[P, B, U]``."""
    square: Tensor
    """``[P, B, U]``."""
    count: Tensor
    """``[P, B]``: batches that had a row at the position."""

    def add(
        self,
        net: Autoencoder,
        trace: Trace,
        cells: Tensor | None = None,
        part: Literal["both", "encoder", "decoder"] = "both",
    ) -> None:
        """Take in one batch, in place.

        Args:
            cells: int64 ``[K]``, whose batch it is; each once. None: all.
            part: whose layers; the batches are counted with the encoder's.
        """
        which: Tensor | slice = slice(None) if cells is None else cells
        first, inner = 0, sum(layer.weighted for layer in net.encoder)
        for number, values in enumerate(activations(net, trace)):
            rows, last = values.shape[1], first + values.shape[2]
            if part == "both" or (part == "encoder") == (number < inner):
                self.total[which, :rows, first:last] += values
                self.square[which, :rows, first:last] += values.to(self.square.dtype, copy=True).square_()
            first = last
        if part != "decoder":
            self.count[which, :rows] += 1

    def reset(self) -> None:
        """Forget all batches, in place."""
        for tensor in (self.total, self.square, self.count):
            tensor.zero_()

    def scores(self) -> Tensor:
        """Sum over batch positions of the population standard deviation over batches, ``[P, U]`` (ALGORITHMS A5)."""
        count = self.count.clamp(min=1)[:, :, None]
        mean = self.total / count
        return (self.square / count - mean.square()).clamp_(min=0).sqrt_().sum(1)

    def take(self, parents: Tensor) -> ActivationStats:
        """Return a copy, with cell i's sums those of cell ``parents[i]``."""
        return ActivationStats(self.total[parents], self.square[parents], self.count[parents])

    def part(self, first: int, last: int) -> ActivationStats:
        """Return the sums of cells ``first`` to ``last - 1`` as views."""
        return ActivationStats(self.total[first:last], self.square[first:last], self.count[first:last])


def no_stats(net: Autoencoder, size: int, batch: int, device: torch.device) -> ActivationStats:
    """Return sums over no batches for ``size`` cells."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros((size, batch, net.units), dtype=dtype, device=device)
    return ActivationStats(sums, sums.clone(), torch.zeros((size, batch), dtype=dtype, device=device))
