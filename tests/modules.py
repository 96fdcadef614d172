"""The plain reference: one autoencoder as ordinary torch modules, filled from a population's row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aecompress.layers.base import BoundLayer
from aecompress.layers.dense import Dense
from aecompress.nets.autoencoder import tensors_of
from aecompress.nets.shapes import Autoencoder, build

MODULES = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "relu6": nn.ReLU6,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hard-swish": nn.Hardswish,
    "hard-tanh": nn.Hardtanh,
    "leaky-relu:0.2": lambda: nn.LeakyReLU(0.2),
}
"""Torch's own module of every activation, and of leaky-relu with a slope of its own."""


class Plain(nn.Module):
    """Encoder and decoder with torch's own layers; its state dict has the names that we export."""

    def __init__(self, net: Autoencoder, row: Tensor) -> None:
        super().__init__()
        self.net = net
        self.encoder = nn.ModuleList([nn.Linear(layer.inputs, layer.outputs) for layer in net.encoder])
        self.decoder = nn.ModuleList([nn.Linear(layer.inputs, layer.outputs) for layer in net.decoder])
        self.to(row.dtype)
        self.load_state_dict({name: tensor.t() for name, tensor in tensors_of(net, row).items()})

    def encode(self, rows: Tensor) -> Tensor:
        return self._chain(self.encoder, self.net.encoder, rows)

    def decode(self, rows: Tensor) -> Tensor:
        return self._chain(self.decoder, self.net.decoder, rows)

    def forward(self, rows: Tensor) -> Tensor:
        return self.decode(self.encode(rows))

    @staticmethod
    def _chain(modules: nn.ModuleList, layers: tuple[BoundLayer, ...], rows: Tensor) -> Tensor:
        for module, layer in zip(modules, layers, strict=True):
            rows = MODULES[layer.activation]()(module(rows))
        return rows


def row_of(module: Plain, grad: bool = False) -> Tensor:
    """The module's parameters, or their gradients, in the order of a population's row, weights ``[in, out]``."""
    parts = []
    for linear in [*module.encoder, *module.decoder]:
        for tensor in (linear.weight.T, linear.bias):
            parts.append((linear.weight.grad.T if tensor.ndim == 2 else linear.bias.grad) if grad else tensor)
    parts = [part.reshape(-1) for part in parts]
    return torch.cat(parts).detach()


def small_net(activation: str = "relu", output: str = "sigmoid", inputs: int = 12) -> Autoencoder:
    """inputs-7-3-7-inputs."""
    return mirrored((7,), 3, inputs, hidden_activation=activation, latent_activation="relu", output=output)


def dense_layers(part: str, sizes: list[tuple[int, str]]) -> list[Dense]:
    """Dense layers of (units, activation), named as a part's."""
    return [Dense(f"{part}.{index}", *size) for index, size in enumerate(sizes)]


def mirrored(
    hidden: tuple[int, ...],
    latent: int,
    inputs: int,
    *,
    hidden_activation: str = "relu",
    latent_activation: str = "identity",
    output: str = "sigmoid",
    variational: bool = False,
) -> Autoencoder:
    """inputs-hidden-latent-reversed hidden-inputs."""
    encoder = [(size, hidden_activation) for size in hidden]
    decoder = [*reversed(encoder), (inputs, output)]
    encoder.append((latent, latent_activation))
    return build(dense_layers("encoder", encoder), dense_layers("decoder", decoder), (inputs,), variational)
