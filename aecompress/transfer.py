"""Numbers of the host on the device, without waiting for it, and numbers of the device on the host, waiting once.

``torch.tensor(values, device=...)`` copies from memory that may move, for which the host waits until the device has
done all it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_device(values: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``torch.tensor(values, dtype=dtype)`` on the device; a GPU copies it in its own time."""
    host = torch.tensor(values, dtype=dtype)
    pins = device.type == "cuda" and torch.cuda.is_available()
    return host.pin_memory().to(device, non_blocking=True) if pins else host.to(device)


def on_host(*tensors: Tensor) -> list[Any]:
    """Return what ``tolist`` returns of each tensor; of tensors on a GPU in one copy.

    Args:
        tensors: floating-point, boolean, or whole numbers up to 2 ** 53.
    """
    if tensors[0].device.type != "cuda":
        return [tensor.tolist() for tensor in tensors]
    sizes = [tensor.numel() for tensor in tensors]
    packed = torch.cat([tensor.flatten().to(torch.float64) for tensor in tensors]).cpu().split(sizes)  # type: ignore[no-untyped-call]
    return [one.to(tensor.dtype).view(tensor.shape).tolist() for one, tensor in zip(packed, tensors, strict=True)]
