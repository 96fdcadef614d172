"""A torch autoencoder to read back, and whether a reader gave the same function."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Model
from aecompress.deploy.pretrained import base
from aecompress.layers.base import BoundLayer
from aecompress.layers.dense import dense
from tests.deploy.models import tiny_rows


class Plain(nn.Module):
    """An autoencoder as people write it."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(12, 8), activation(), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 12), nn.Sigmoid())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(rows))  # type: ignore[no-any-return]


ACTIVATIONS = ("relu", "identity", "relu", "sigmoid")
"""Of :class:`Plain`'s layers."""


def filled(pretrained: base.Pretrained) -> tuple[BoundLayer, ...]:
    """Return the layers of a model with those of :class:`Plain` for activations that its file lacks."""
    layers = pretrained.encoder + pretrained.decoder
    return tuple(
        dense(layer.name, layer.inputs, layer.outputs, layer.activation or activation)
        for layer, activation in zip(layers, ACTIVATIONS, strict=False)
    )


def shapes(model: base.Pretrained | Model) -> list[tuple[str, int, int, str]]:
    """Return name, inputs, outputs and activation of each layer."""
    layers = (*model.encoder, *model.decoder)
    return [(layer.name, layer.inputs, layer.outputs, layer.activation) for layer in layers]


def same_function(pretrained: base.Pretrained, module: nn.Module) -> bool:
    """Return whether a model read back computes what the module does."""
    rows = tiny_rows(9, 12)
    with torch.no_grad():
        expected = module(torch.from_numpy(rows)).numpy()
    return np.allclose(reference.run(filled(pretrained), pretrained.tensors, rows), expected, atol=1e-6)
