"""Whether kernels can be had here."""

from __future__ import annotations

import functools
import importlib


@functools.cache
def triton_fault() -> str:
    """Return why triton cannot be used here; "" where it can. Imports it."""
    try:
        importlib.import_module("triton")
    except ImportError as fault:
        return f"needs triton, which cannot be imported ({fault})"
    return ""
