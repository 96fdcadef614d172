"""A trained autoencoder as an ordinary torch module, for use outside this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aecompress import markup
from aecompress.layers.base import BoundLayer
from aecompress.nets.layers import activation_of, kind_of
from aecompress.nets.places import as_given, as_rows

Tensors = Mapping[str, NDArray[np.float32]]
"""Weights ``[fan_in, columns]`` and biases ``[columns]``, by names such as ``encoder.0.weight``."""


class LayerModule(nn.Module):
    """A layer of a kind without a torch module of its own: the kind's forward pass for a population of one."""

    def __init__(self, layer: BoundLayer) -> None:
        super().__init__()
        self.layer = layer
        self.weight, self.bias = (
            nn.Parameter(torch.empty(shape)) if shape[-1] else None
            for shape in ((layer.inputs, layer.outputs), (layer.biases,))
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Return what the layer gives before its activation, ``[N, D]`` -> ``[N, D']``."""
        below = as_given(self.layer, rows[None])
        weight, bias = (rows.new_zeros(0) if one is None else one for one in (self.weight, self.bias))
        weight = weight.view(1, self.layer.inputs, self.layer.outputs)
        pre = kind_of(self.layer).forward(self.layer, weight, bias[None, None], below)
        return as_rows(pre)[0].clone()  # the activation overwrites it, and autograd may need it


def module_of(layer: BoundLayer, tensors: Tensors) -> nn.Module:
    """Return the module of a layer with its weights.

    Raises:
        SpecError: the layer's kind has no torch side.
    """
    weight, bias = (tensors[f"{layer.name}.{name}"] for name in ("weight", "bias"))
    make = kind_of(layer).module
    module = LayerModule(layer) if make is None else make(layer)
    own = {"weight": weight, "bias": bias} if make is None else layer.layer.to_torch(layer.given, weight, bias)
    module.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in own.items() if tensor.size})
    return module


class AutoencoderModule(nn.Module):
    """Encoder and decoder, a module for each layer: ``nn.Linear`` for dense ones.

    The state dict has the names of ``model.safetensors``, and its tensors where the kind has a torch module of its own.

    Args:
        about: what ``config.json`` says of the model, such as its metrics when it was exported.
    """

    offset: Tensor
    divisor: Tensor

    def __init__(
        self,
        encoder: Sequence[BoundLayer],
        decoder: Sequence[BoundLayer],
        tensors: Tensors,
        scaling: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.about = dict(about or {})
        self.encoder, self.decoder = (
            nn.ModuleList([module_of(layer, tensors) for layer in part]) for part in (encoder, decoder)
        )
        self.activations = [[layer.activation for layer in part] for part in (encoder, decoder)]
        for name in ("offset", "divisor"):
            value = torch.as_tensor(scaling[name], dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)
        self.eval()

    def _repr_html_(self) -> str:
        layers = [*self.encoder, *self.decoder]
        named = [f"{part}.{index}" for part in ("encoder", "decoder") for index in range(len(getattr(self, part)))]
        sizes = [(count(layer), count(layer, zeros=True)) for layer in layers]
        rows = [
            (name, repr(layer), activation, f"{size:,}", f"{zeros / size:.2%}" if size else "")
            for name, layer, activation, (size, zeros) in zip(
                named, layers, chain.from_iterable(self.activations), sizes, strict=True
            )
        ]
        size, zeros = (sum(each) for each in zip(*sizes, strict=True))
        return markup.block(
            markup.headline(
                str(self.about.get("name", "autoencoder")), f"{size:,} parameters, sparsity {zeros / size:.2%}"
            ),
            markup.note(", ".join(losses_of(self.about))),
            markup.bars(
                "sparsity of each layer",
                [(name, zeros / size) for name, (size, zeros) in zip(named, sizes, strict=True) if size],
            ),
            markup.table(("layer", "module", "activation", "parameters", "sparsity"), rows),
        )

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


def count(layer: nn.Module, zeros: bool = False) -> int:
    """Return the number of weights and biases of a layer, or of those that are exactly zero now."""
    return sum(int((part == 0).sum()) if zeros else part.numel() for part in layer.parameters())


def losses_of(about: Mapping[str, Any]) -> list[str]:
    """Return the reported loss of each split, where a model's ``config.json`` has them."""
    metric, metrics = about.get("metric"), about.get("metrics", {})
    names = [(split, f"{split}_{metric}") for split in ("train", "validation", "test")]
    return [f"{split} {metric} {metrics[name]:.5g}" for split, name in names if name in metrics]


def _chain(layers: nn.ModuleList, activations: Sequence[str], rows: Tensor) -> Tensor:
    for layer, activation in zip(layers, activations, strict=True):
        rows = activation_of(activation).apply(layer(rows))
    return rows
