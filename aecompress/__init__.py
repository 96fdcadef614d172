"""aecompress: train autoencoders, prune them while they learn, and ship small verified models.

    >>> import aecompress
    >>> for event in aecompress.run({"data.source": "digits", "train.epochs": 5}, "runs/api"):  # doctest: +SKIP
    ...     print(event.kind)
    >>> model = aecompress.load("runs/api/model")  # doctest: +SKIP

Names are resolved on first use, so that importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecompress.api.load import load
    from aecompress.api.run import run
    from aecompress.spec.fields import RunSpec

__version__ = "0.1.0"
__all__ = ["RunSpec", "load", "run"]
_HOMES = {"run": "aecompress.api.run", "load": "aecompress.api.load", "RunSpec": "aecompress.spec.fields"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aecompress' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
