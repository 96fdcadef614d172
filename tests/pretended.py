"""A pretended CUDA device: tensors of the CPU that say they lie on cuda:0.

An operation on operands of both sides is refused, as on a device, and whatever makes the host wait is counted.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from aecompress.evolve.topology import neighbourhoods

CARD = SimpleNamespace(name="Pretended", major=9, minor=0, multi_processor_count=132)
MEMORY = 85_000_000_000
INDEXING = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
READING = {torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__float__, torch.Tensor.__int__}
READING |= {torch.Tensor.__index__}
SIZED_BY_DATA = {"nonzero", "masked_select", "unique", "bincount"}
FACTORIES = {torch.tensor, torch.as_tensor}


class OnDevice(torch.Tensor):
    """A tensor on the device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return executed(func, args, kwargs or {})


stops = Counter[str]()
"""What the host waited for, by the line of the package that made it wait."""


def stop(why: str) -> None:
    """Count that the host waits."""
    for frame in reversed(traceback.extract_stack()):
        if "/aecompress/" in frame.filename:
            stops[f"{why}: {frame.filename.split('/aecompress/')[-1]}:{frame.lineno}"] += 1
            return
    stops[why] += 1


def plain(values: Any) -> Any:
    """The same with tensors of the CPU."""
    return tree_map(lambda one: one.as_subclass(torch.Tensor) if isinstance(one, OnDevice) else one, values)


def placed(values: Any) -> Any:
    """The same with tensors on the device."""
    return tree_map(lambda one: one.as_subclass(OnDevice) if isinstance(one, torch.Tensor) else one, values)


def names_device(value: Any) -> bool:
    """Whether an argument is a CUDA device."""
    if not isinstance(value, torch.device | str):
        return False
    try:
        return torch.device(value).type == "cuda"
    except RuntimeError:
        return False


def is_placed(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operation names the device."""
    return names_device(kwargs.get("device")) or (func is torch.Tensor.to and any(map(names_device, args[1:])))


def executed(func: Any, args: Any, kwargs: Any) -> Any:
    """Do an operation that has to do with the device."""
    with torch._C.DisableTorchFunctionSubclass():
        if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("cuda:0") if isinstance(args[0], OnDevice) else torch.device("cpu")
        if func == torch.Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return isinstance(args[0], OnDevice)
        if func is torch.Tensor.to:
            return moved(args, kwargs)
        if func in READING or func is torch.Tensor.cpu:
            stop("read")
            return plain(args[0]).clone() if func is torch.Tensor.cpu else func(*plain(args), **kwargs)
        if func is torch.Tensor.numpy or getattr(func, "__name__", "") == "__array__":
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        refuse_mixed(func, args, kwargs)
        here = not ("device" in kwargs and kwargs["device"] is not None and not names_device(kwargs["device"]))
        if func in FACTORIES:
            stop("copied")
        elif func is torch.Tensor.copy_ and not isinstance(args[0], OnDevice):
            stop("read")
            here = False
        kwargs = kwargs | {"device": "cpu"} if names_device(kwargs.get("device")) else kwargs
        result = func(*plain(args), **plain(kwargs))
        return placed(result) if here else result


def moved(args: Any, kwargs: Any) -> Any:
    """Do what ``Tensor.to`` does; only a copy from pinned memory does not make the host wait."""
    places = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, torch.device | str)]
    rest = [one for one in args[1:] if not isinstance(one, torch.device | str)]
    named = {name: one for name, one in kwargs.items() if name not in ("device", "non_blocking")}
    result = plain(args[0]).to(*rest, **named) if rest or named else plain(args[0])
    target = names_device(places[0]) if places else isinstance(args[0], OnDevice)
    if target != isinstance(args[0], OnDevice):
        if not kwargs.get("non_blocking"):
            stop("copied" if target else "read")
        result = result.clone()
    return placed(result) if target else result


def refuse_mixed(func: Any, args: Any, kwargs: Any) -> None:
    """Refuse operands of both sides where a device does, and count where the host waits for a size or an index."""
    leaves = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    host = [one for one in leaves if not isinstance(one, OnDevice) and one.dim() > 0]
    name = getattr(func, "__name__", str(func))
    if host and len(host) < len(leaves):
        if func is not torch.Tensor.copy_ and func not in INDEXING:
            raise RuntimeError(f"{name}: operands on cuda:0 and cpu")
        stop("copied")
    index = args[1] if func in INDEXING else None
    by_mask = any(isinstance(one, torch.Tensor) and one.dtype == torch.bool for one in tree_leaves(index))
    repeated = "repeat_interleave" in name and any(isinstance(one, torch.Tensor) for one in args[1:])
    if name in SIZED_BY_DATA or by_mask or (repeated and "output_size" not in kwargs):
        stop("sized by data")


class Machine(TorchFunctionMode):
    """Sends what has to do with the device to it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(one, OnDevice) for one in tree_leaves((args, kwargs))) or is_placed(func, args, kwargs):
            return executed(func, args, kwargs)
        return func(*args, **kwargs)


class Event:
    """A point that the device comes to."""

    def record(self, stream: None) -> None:
        """Everything is done at once."""

    def synchronize(self) -> None:
        """Wait for it."""
        stop("waited")


@contextlib.contextmanager
def device() -> Iterator[None]:
    """Pretend that this machine has a device; it has no kernels of its own, so torch's operations train."""
    with pytest.MonkeyPatch.context() as patch, Machine():
        stops.clear()
        neighbourhoods.cache_clear()
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (MEMORY, MEMORY))
        patch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        patch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
        patch.setattr(torch.cuda, "get_device_properties", lambda device: CARD)
        patch.setattr(torch.Tensor, "pin_memory", lambda self: self)
        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.cuda, "Stream", lambda device: None)
        patch.setattr(torch.cuda, "current_stream", lambda device: None)
        patch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        patch.setattr("aecompress.engines.cuda.available.triton_fault", lambda: "needs a device")
        yield
    neighbourhoods.cache_clear()
