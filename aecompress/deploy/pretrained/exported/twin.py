"""A copy of a module that can be run and exported while the user's own stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from aecompress.errors import DataError

WRAPPERS = {
    "torch._dynamo.eval_frame": "_orig_mod",
    "torch.nn.parallel.data_parallel": "module",
    "torch.nn.parallel.distributed": "module",
    "torch.optim.swa_utils": "module",
}
"""Modules of torch that hold a user's: where the class is defined -> the attribute."""
UNINITIALISED = (UninitializedParameter, UninitializedBuffer)
REGISTERED = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
"""Dictionaries of a module that running it may change."""


def unwrapped(name: str, module: nn.Module) -> nn.Module:
    """Return the module that the user wrote, without what compiles or distributes it.

    Raises:
        DataError: it is no module that torch.export reads, such as one of TorchScript.
    """
    while (held := WRAPPERS.get(type(module).__module__)) is not None and isinstance(
        getattr(module, held, None), nn.Module
    ):
        module = getattr(module, held)
    if isinstance(module, torch.jit.ScriptModule):
        raise DataError(f"{name}: is a module of TorchScript; give the torch.nn.Module that it was made from")
    return module


def twin_of(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with float32 weights on the CPU, which share memory where they can.

    Only modules, weights and buffers are copied; anything else that a module holds, such as a trainer, is shared.
    Weights that are tied stay tied, and weights that are made when the module is called (weight norm, masks of
    ``torch.nn.utils.prune``) still are.
    """
    return _Copies().module(module)


class _Copies:
    """Copies of modules and tensors by the identity of what they are copies of."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}

    def module(self, given: nn.Module) -> nn.Module:
        if id(given) in self.made:
            found: nn.Module = self.made[id(given)]
            return found
        twin = type(given).__new__(type(given))
        self.made[id(given)] = twin
        values = {name: self.value(value) for name, value in vars(given).items()}
        for name in REGISTERED:
            values[name] = type(values[name])(
                (key, self.value(value)) for key, value in vars(given).get(name, {}).items()
            )
        twin.__dict__.update(values)
        twin.__dict__["training"] = False
        return twin

    def value(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            return self.tensor(given)
        if isinstance(given, nn.Module):
            return self.module(given)
        if type(given) in (list, tuple) and any(isinstance(each, Tensor | nn.Module) for each in given):
            return type(given)(map(self.value, given))
        if type(given) is dict and any(isinstance(each, Tensor | nn.Module) for each in given.values()):
            return {key: self.value(each) for key, each in given.items()}
        return given

    def tensor(self, given: Tensor) -> Tensor:
        if id(given) not in self.made:
            self.made[id(given)] = _copied(given)
        found: Tensor = self.made[id(given)]
        return found


def _copied(given: Tensor) -> Tensor:
    """Return a tensor that can be replaced or written to without a change of ``given``."""
    if isinstance(given, UNINITIALISED):
        made: Tensor = copy.deepcopy(given)
        return made
    value = given.detach().cpu()
    value = value.float() if value.is_floating_point() else value
    return nn.Parameter(value, requires_grad=False) if isinstance(given, nn.Parameter) else value.clone()


def check_weights(name: str, module: nn.Module) -> None:
    """Refuse weights that are not plain dense numbers.

    Raises:
        DataError: naming the first.
    """
    for key, tensor in tensors_of(module):
        if tensor.is_meta:
            raise DataError(f"{name}: {key} is on the device meta and has no values; load the weights first")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise DataError(
                f"{name}: {key} is not a dense tensor of real numbers; give the module before it was converted"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{name}: {key} holds values that are not finite; train the module again")


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights and buffers of a module that have values, by name."""
    for key, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not isinstance(tensor, UNINITIALISED):
            yield key, tensor


def is_lazy(module: nn.Module) -> bool:
    """Return whether weights are made when the module is first called."""
    tensors = [*module.parameters(), *module.buffers()]
    return any(isinstance(tensor, UNINITIALISED) for tensor in tensors)
