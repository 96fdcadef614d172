"""A trained autoencoder as an ordinary torch module, for use outside this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aecompress.nets.layers import ACTIVATIONS

LayerSizes = tuple[int, int, str]
"""Inputs, outputs, activation."""


class AutoencoderModule(nn.Module):
    """Encoder and decoder of ``nn.Linear`` layers; the state dict has the names of ``model.safetensors``."""

    offset: Tensor
    divisor: Tensor

    def __init__(
        self,
        encoder: Sequence[LayerSizes],
        decoder: Sequence[LayerSizes],
        tensors: Mapping[str, NDArray[np.float32]],
        scaling: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([nn.Linear(inputs, outputs) for inputs, outputs, _ in encoder])
        self.decoder = nn.ModuleList([nn.Linear(inputs, outputs) for inputs, outputs, _ in decoder])
        self.activations = [[layer[2] for layer in part] for part in (encoder, decoder)]
        self.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
        for name in ("offset", "divisor"):
            value = torch.as_tensor(scaling[name], dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)
        self.eval()

    def scale(self, raw: Tensor) -> Tensor:
        """Return raw rows ``[N, D]`` in the units the network was trained on."""
        return (raw - self.offset) / self.divisor

    def unscale(self, rows: Tensor) -> Tensor:
        """Return network units ``[N, D]`` in raw units."""
        return rows * self.divisor + self.offset

    def encode(self, rows: Tensor) -> Tensor:
        """Return latent codes ``[N, latent]`` of scaled rows ``[N, D]``."""
        return _chain(self.encoder, self.activations[0], rows)

    def decode(self, latent: Tensor) -> Tensor:
        """Return reconstructions ``[N, D]``, scaled, of latent codes ``[N, latent]``."""
        return _chain(self.decoder, self.activations[1], latent)

    def forward(self, rows: Tensor) -> Tensor:
        """Return reconstructions of scaled rows, ``[N, D]``."""
        return self.decode(self.encode(rows))


def _chain(layers: nn.ModuleList, activations: Sequence[str], rows: Tensor) -> Tensor:
    for layer, activation in zip(layers, activations, strict=True):
        rows = ACTIVATIONS[activation].apply(layer(rows))
    return rows
