"""aecompress: train autoencoders, prune them while they learn, and ship small verified models.

    >>> from aecompress import Autoencoder  # an estimator of scikit-learn
    >>> ae = Autoencoder(target_sparsity=0.9, epochs=30).fit(X, validation=X_val)
    >>> Z, X_hat, error = ae.transform(X), ae.reconstruct(X), -ae.score_samples(X)
    >>> ae.front_, ae.pick("knee"), ae.history_.plot()  # figures need matplotlib
    >>> ae.export("model/", variants=["packed", "scorer"])

    >>> smaller = aecompress.compress(module, X, target_sparsity=0.9)  # your own torch module

    >>> import aecompress  # runs with a folder, as those of the command line
    >>> result = aecompress.run({"data.source": "digits"}, "runs/api").result()
    >>> result.metrics, result.front.plot(), result.files["autoencoder"]
    >>> for event in aecompress.run({"data.source": "digits"}, "runs/events"):
    ...     print(event.kind)  # started, generation, ..., finished
    >>> model = aecompress.load("runs/api")  # a torch module

Names are resolved on first use, so that importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecompress.api.compress import compress
    from aecompress.api.estimator import Autoencoder
    from aecompress.api.front import Front
    from aecompress.api.history import History
    from aecompress.api.load import load
    from aecompress.api.result import Result
    from aecompress.api.run import Run, run
    from aecompress.errors import AecompressError
    from aecompress.spec.fields import RunSpec

__version__ = "0.1.0"
__all__ = ["AecompressError", "Autoencoder", "Front", "History", "Result", "Run", "RunSpec", "compress", "load", "run"]
_HOMES = {
    "AecompressError": "aecompress.errors",
    "Autoencoder": "aecompress.api.estimator",
    "Front": "aecompress.api.front",
    "History": "aecompress.api.history",
    "Result": "aecompress.api.result",
    "Run": "aecompress.api.run",
    "RunSpec": "aecompress.spec.fields",
    "compress": "aecompress.api.compress",
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
