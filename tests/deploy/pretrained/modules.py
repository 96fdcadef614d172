"""A torch autoencoder to read back, and whether a reader gave the same function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Model
from aecompress.deploy.pretrained import base
from aecompress.deploy.pretrained.steps import Step
from aecompress.layers.activations import activation_of
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


def steps_of(module: nn.Sequential) -> list[Step]:
    """Return the steps of modules in sequence."""
    found = []
    for name, each in module.named_children():
        tensors = {key: tensor.detach().numpy() for key, tensor in each.state_dict().items() if tensor.ndim}
        op, names = OPS[type(each)]
        numbers = {ours: getattr(each, theirs) for ours, theirs in names.items()}
        if op == "unflatten":
            numbers["shape"] = tuple(each.unflattened_size)
        if op == "activation":
            numbers["name"] = type(each).__name__.lower()
        found.append(Step(name, op, tensors, numbers))
    return found


CONVOLUTION = {name: name for name in ("stride", "padding", "dilation", "groups")}
TRANSPOSED = {**CONVOLUTION, "output_padding": "output_padding"}
POOL = {"kernel": "kernel_size", "stride": "stride", "padding": "padding"}
OPS: dict[type[nn.Module], tuple[str, dict[str, str]]] = {
    nn.Linear: ("linear", {}),
    nn.Conv1d: ("conv1d", CONVOLUTION),
    nn.Conv2d: ("conv2d", CONVOLUTION),
    nn.ConvTranspose1d: ("conv1d-transpose", TRANSPOSED),
    nn.ConvTranspose2d: ("conv2d-transpose", TRANSPOSED),
    nn.BatchNorm1d: ("batch-norm", {"eps": "eps"}),
    nn.BatchNorm2d: ("batch-norm", {"eps": "eps"}),
    nn.ReLU: ("activation", {}),
    nn.Tanh: ("activation", {}),
    nn.Sigmoid: ("activation", {}),
    nn.Dropout: ("dropout", {}),
    nn.Identity: ("identity", {}),
    nn.Flatten: ("flatten", {}),
    nn.Unflatten: ("unflatten", {}),
    nn.MaxPool1d: ("max-pool", POOL),
    nn.MaxPool2d: ("max-pool", POOL),
    nn.Upsample: ("upsample", {"factor": "scale_factor", "mode": "mode"}),
}


def run_steps(steps: Sequence[Step], rows: torch.Tensor) -> np.ndarray:
    """Compute steps by torch's functions."""
    for step in steps:
        tensors = {name: torch.from_numpy(np.array(tensor)).to(rows.dtype) for name, tensor in step.tensors.items()}
        bias, numbers = tensors.get("bias"), {**step.numbers}
        each = (-1,) if "axis" in numbers else (-1, *[1] * (rows.ndim - 2))
        match step.op:
            case "linear":
                rows = F.linear(rows, tensors["weight"], bias)
            case "conv1d" | "conv2d" | "conv1d-transpose" | "conv2d-transpose":
                name = step.op.replace("conv", "conv_transpose").removesuffix("-transpose")
                call = getattr(F, name if step.op.endswith("-transpose") else step.op)
                rows = call(rows, tensors["weight"], bias, **numbers)
            case "affine":
                rows = rows * tensors["weight"].reshape(each) + tensors["bias"].reshape(each)
            case "activation" if numbers["name"] == "prelu":
                rows = torch.where(rows > 0, rows, rows * tensors["weight"].reshape(each))
            case "activation":
                rows = torch.from_numpy(activation_of(numbers["name"]).value(rows.numpy())).to(rows.dtype)
            case "max-pool" | "avg-pool":
                call = getattr(F, f"{step.op[:3]}_pool{rows.ndim - 2}d")
                rows = call(rows, numbers["kernel"], numbers["stride"], numbers["padding"])
            case "upsample":
                mode = numbers["mode"] if numbers["mode"] == "nearest" else ("linear", "bilinear")[rows.ndim - 3]
                rows = F.interpolate(
                    rows, size=np.multiply(rows.shape[2:], numbers["factor"]).astype(int).tolist(), mode=mode
                )
            case "flatten":
                rows = rows.flatten(1)
            case "unflatten" | "reshape":
                rows = rows.reshape(len(rows), *numbers["shape"])
            case "permute":
                rows = rows.permute(0, *(axis + 1 for axis in numbers["axes"]))
            case "global-avg-pool":
                rows = rows.flatten(2).mean(2)
            case "repeat":
                rows = rows[:, None].repeat(1, numbers["times"], 1)
            case "lstm" | "gru":
                kind = nn.LSTM if step.op == "lstm" else nn.GRU
                module = kind(rows.shape[2], tensors["weight_hh_l0"].shape[1], batch_first=True)
                module.load_state_dict(tensors)
                rows = module(rows)[0].detach()
                rows = rows if numbers["sequences"] else rows[:, -1]
            case _:
                raise AssertionError(step.op)
    return rows.detach().numpy()
