"""The penalty of a sparse code: the L1 norm of a row's code, each unit weighted by the norm of what reads it.

The weighting makes it the same for a code of half the size that is read by weights twice as large, so that training
cannot escape from it, and decoders need no norm of their own (Conerly et al. 2024, "Update on how we train SAEs").
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from aecompress.layers.base import BoundLayer
from aecompress.nets.shapes import Autoencoder
from aecompress.nets.units import by_reads, norm_out


def reader_of(net: Autoencoder) -> BoundLayer | None:
    """Return the layer of the decoder that reads the units of the code; None where these are turned into others."""
    for layer in net.decoder:
        if layer.weighted and not layer.follows:
            return layer
        if not layer.matrix.passes:
            return None
    return None


def code_slope(net: Autoencoder, weights: Mapping[str, Tensor], code: Tensor, factor: float) -> Tensor:
    """Return the penalty's gradient at the code ``[P, B, *places, units]``; the weight is 1 where no layer reads it."""
    reader = reader_of(net)
    if reader is None:
        return code.sign() * factor
    norms = norm_out(reader, weights[reader.name + ".weight"])
    return code.sign() * (norms * factor).view(len(norms), *[1] * (code.ndim - 2), -1)


def add_reader_slope(
    net: Autoencoder, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], code: Tensor, factor: float
) -> None:
    """Add the penalty's gradient at the weights that read the code to ``gradients``, in place; 0 where all are 0."""
    reader = reader_of(net)
    if reader is None:
        return
    weight = weights[reader.name + ".weight"]
    norms = norm_out(reader, weight)
    share = code.abs().flatten(1, -2).sum(1) * factor / norms.clamp(min=torch.finfo(norms.dtype).tiny)
    share = torch.where(norms > 0, share, 0)
    gradients[reader.name + ".weight"].addcmul_(by_reads(reader, share, none=0), weight)
