"""What both engines of compiled loops ask before numba, which is imported only where it is used."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Collection, Sequence

from aecompress.engines.base import Workload
from aecompress.layers.activations import IDENTITY
from aecompress.layers.base import BoundLayer
from aecompress.layers.names import slope_of

DEVICES = ("cpu",)
"""Types of torch devices that compiled loops are for."""
COMPILE_SECONDS = 20.0
"""Of compiling, which is paid once on a machine."""
GAIN, LESSER_GAIN = 3.0, 2.0
"""How many times as fast as torch's operations compiled loops are: the better and the other of the two engines."""


@functools.cache
def numba_fault() -> str:
    """Return why numba cannot be used here; "" where it can. Imports it."""
    try:
        importlib.import_module("numba")
    except ImportError as fault:
        return f"numba cannot be imported ({fault})"
    return ""


def unsuited(load: Workload, kinds: Collection[str] = ("dense",)) -> str:
    """Return why compiled loops for some kinds of layers cannot do this work, whether or not numba is here.

    "" where they can.
    """
    if load.device.type not in DEVICES:
        return f"compiled training is for CPUs, not {load.device}"
    if load.precision == "float64":
        return "compiled training is in float32"
    other = sorted({layer.kind for layer in load.net.layers} - set(kinds))
    if other:
        return f"layers of kind {other[0]!r} train uncompiled"
    if set(kinds) == {"dense"} and any(layer.units != layer.outputs for layer in load.net.layers):
        return "dense layers with places train uncompiled"
    sloped = next((layer.activation for layer in load.net.layers if slope_of(layer.activation) is not None), "")
    if sloped:
        return f"activation {sloped!r} trains uncompiled: compiled loops have leaky-relu with its usual slope, 0.01"
    if load.changes_partners:
        return "networks that change partners train uncompiled"
    if load.sparse_rows:
        return "sparse rows are trained uncompiled"
    return ""


def passes_fit(load: Workload) -> bool:
    """Return whether whole compiled passes beat a library's matrix products, as measured."""
    narrow = max(min(layer.inputs, layer.outputs) for layer in load.net.layers)
    if narrow <= 64 and load.net.layout.size <= 200_000:  # what a core's cache holds
        return True
    return load.batch <= (32 if narrow <= 128 else 16)


CONVOLVED = ("conv1d", "conv2d", "conv1d-transpose", "conv2d-transpose")
"""Kinds whose products are of patches."""
RENAMED = ("reshape", "flatten", "unflatten")
"""Kinds that only name the same values anew."""
PERMUTED = "permute"
"""The kind that moves the axes of a row: a chain's rows and targets are moved before it and after it."""


def unlinked(layers: Sequence[BoundLayer]) -> str:
    """Return why layers of those kinds and dense ones cannot be links of a chain, as a clause; "" where they can.

    What comes between two links is one activation, and none comes before the first.
    """
    activated, places = True, [place for place, layer in enumerate(layers) if layer.weighted]
    if any(layer.kind == PERMUTED for layer in layers[places[0] : places[-1]]):
        return "axes that move between layers train uncompiled"
    for layer in layers:
        if layer.weighted:
            if getattr(layer.layer, "groups", 1) != 1:
                return "convolutions in groups train uncompiled"
            activated = False
        if activated and layer.activation != IDENTITY:
            return "an activation after another, or of the rows themselves, trains uncompiled"
        activated = activated or layer.activation != IDENTITY
    return ""
