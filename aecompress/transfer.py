"""Numbers of the host on the device, without waiting for it, and numbers of the device on the host, waiting once.

``torch.tensor(values, device=...)`` copies from memory that may move, for which the host waits until the device has
done all it was given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def on_device(values: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``torch.tensor(values, dtype=dtype)`` on the device; a GPU copies it in its own time."""
    host = torch.tensor(values, dtype=dtype)
    pins = device.type == "cuda" and torch.cuda.is_available()
    return host.pin_memory().to(device, non_blocking=True) if pins else host.to(device)


def on_host(*tensors: Tensor) -> list[Any]:
    """Return what ``tolist`` returns of each tensor; of tensors on a GPU in one copy, for which the host waits."""
    return leaving(*tensors)()


def leaving(*tensors: Tensor) -> Callable[[], list[Any]]:
    """Begin to read tensors; a GPU does not wait before what it is given next.

    Returns:
        Gives the numbers of tensors that have stayed as they are; waits for what the device was given until now, and
        for nothing later.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return lambda: [tensor.tolist() for tensor in tensors]
    packed = torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in tensors])
    host = packed.to("cpu", non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record(torch.cuda.current_stream(device))

    def arrived() -> list[Any]:
        there.synchronize()
        parts = host.split([tensor.nbytes for tensor in tensors])  # type: ignore[no-untyped-call]
        pairs = zip(parts, tensors, strict=True)
        return [part.clone().view(tensor.dtype).view(tensor.shape).tolist() for part, tensor in pairs]  # clone: aligned

    return arrived


def beside(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context whose operations a GPU does beside what it was given before, so that they need not wait for it.

    They read only what is there, and what they make is read on the host before the context ends.
    """
    return torch.cuda.stream(_stream_beside(device)) if device.type == "cuda" else nullcontext()


@functools.cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
