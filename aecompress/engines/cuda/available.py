"""Whether kernels can be had here."""

from __future__ import annotations

import functools
import importlib
import subprocess

import torch
from torch import Tensor


@functools.cache
def triton_fault() -> str:
    """Return why triton cannot be used here; "" where it can. Imports it, and builds its driver if there is a GPU."""
    try:
        triton = importlib.import_module("triton")
        if torch.cuda.is_available():
            triton.runtime.driver.active.get_current_target()
    except ImportError as fault:
        return f"needs triton, which cannot be imported ({fault})"
    except AssertionError as fault:  # its own words for a missing libcuda
        return f"needs triton, which cannot find the driver's library: {' '.join(str(fault).split())}"
    except (RuntimeError, OSError, subprocess.SubprocessError) as fault:
        return f"needs triton, which cannot build its driver: {fault}; install a C compiler"
    return ""


def kernels_on(device: torch.device) -> bool:
    """Return whether kernels run on the device."""
    return device.type == "cuda" and torch.cuda.is_available() and not triton_fault()


def fused_draws(key: int, cells: Tensor, size: int, kind: torch.dtype) -> Tensor | None:
    """Return what :data:`aecompress.rng.FUSED` asks of a device, by a kernel; None where there is no triton."""
    if not kernels_on(cells.device):
        return None
    from aecompress.engines.cuda.draw_kernels import drawn

    return drawn(key, cells, size, kind)
