"""aecompress: train autoencoders, prune them while they learn, and ship small verified models.

    >>> import aecompress
    >>> spec = {"data.source": "digits", "train.epochs": 5}
    >>> result = aecompress.run(spec, "runs/api").result()  # doctest: +SKIP
    >>> result.sparsity, result.metrics["test_mse"], result.files["autoencoder"]  # doctest: +SKIP
    >>> result.front.plot()  # needs matplotlib; result.history.plot() too  # doctest: +SKIP
    >>> for event in aecompress.run(spec, "runs/api", force=True):  # doctest: +SKIP
    ...     print(event.kind)  # started, generation, ..., finished
    >>> model = aecompress.load("runs/api")  # a torch module  # doctest: +SKIP
    >>> codes = model.encode(model.scale(rows))  # doctest: +SKIP
    >>> settings = aecompress.RunSpec.model_fields  # every section of a spec  # doctest: +SKIP

Names are resolved on first use, so that importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecompress.api.estimator import Autoencoder
    from aecompress.api.front import Front
    from aecompress.api.history import History
    from aecompress.api.load import load
    from aecompress.api.result import Result
    from aecompress.api.run import Run, run
    from aecompress.errors import AecompressError
    from aecompress.spec.fields import RunSpec

__version__ = "0.1.0"
__all__ = ["AecompressError", "Autoencoder", "Front", "History", "Result", "Run", "RunSpec", "load", "run"]
_HOMES = {
    "AecompressError": "aecompress.errors",
    "Autoencoder": "aecompress.api.estimator",
    "Front": "aecompress.api.front",
    "History": "aecompress.api.history",
    "Result": "aecompress.api.result",
    "Run": "aecompress.api.run",
    "RunSpec": "aecompress.spec.fields",
    "load": "aecompress.api.load",
    "run": "aecompress.api.run",
}
"""Module of each public name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aecompress' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
