"""Weights that torch saved elsewhere: a state dict's tensors, with no code run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from aecompress.errors import DataError

DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError)
"""What torch raises on files that are damaged or hold more than tensors."""
NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the state dict inside what they save."""


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file that ``torch.save(module.state_dict(), path)`` wrote; masks of torch's pruning applied.

    Raises:
        DataError: it cannot be read, would need code, or holds something else.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name an existing file") from fault
    except DAMAGE as fault:
        said = " ".join(str(fault).split())[:120]
        raise DataError(
            f"{path}: holds more than tensors, or is damaged ({said}); save it with torch.save(model.state_dict(), ...)"
        ) from fault
    for key in NESTED:
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    if not isinstance(held, dict) or not held or not all(isinstance(value, Tensor) for value in held.values()):
        raise DataError(f"{path}: holds no state dict; save it with torch.save(model.state_dict(), path)")
    tensors = {}
    for name, tensor in held.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise DataError(f"{path}: {name} is not a plain dense tensor; convert it first")
        mask = held.get(name.removesuffix("_orig") + "_mask") if name.endswith("_orig") else None
        if name.endswith("_mask"):
            continue
        value = tensor if mask is None else tensor * mask
        tensors[name.removesuffix("_orig")] = value.detach().to(torch.float32).numpy().copy()
    return tensors
