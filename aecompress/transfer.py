"""Numbers of the host on the device, without waiting for it.

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
