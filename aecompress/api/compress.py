"""A torch module of the user's own, compressed: its weights in, a fitted estimator out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from aecompress.api.estimator import Autoencoder, Shares
from aecompress.errors import InputError

if TYPE_CHECKING:
    from torch import nn


class Parameters(TypedDict, total=False):
    """Parameters of :class:`aecompress.Autoencoder` that do not describe its network."""

    mode: str
    epochs: str | int
    batch: str | int
    learning_rate: str | float
    loss: str
    bits: int
    cells: int
    operator: str
    schedule: str
    target_sparsity: str | float
    granularity: str
    regrowth: str | float
    max_loss_increase: float | str
    split: Shares
    scaling: str
    label: str
    missing: str
    dates: str
    categories: str
    quantile: float
    device: str
    compile: str
    settings: Mapping[str, Any] | None
    random_state: int | np.random.RandomState | None
    verbose: int


OF_NETWORK = ("network", "hidden", "latent", "family")
"""Parameters of the estimator that a module leaves no choice in."""


def compress(module: nn.Module, X: Any, *, validation: Any = None, **parameters: Unpack[Parameters]) -> Autoencoder:
    """Prune a trained autoencoder of torch on raw rows, and return it as a fitted estimator of scikit-learn.

    The module comes in with its weights: whatever ``torch.export`` turns into one chain of linear, convolutional and
    recurrent layers, activations, pooling and reshapes. It is not changed. Training continues from its weights while
    it is pruned; ``epochs=0`` prunes it as it is. Rows are not rescaled unless ``scaling`` says so: the module was
    trained on rows as they are.

    Args:
        module: gives reconstructions for rows, alone or beside other values such as the latent code; or has an
            ``encoder`` and a ``decoder``.
        X: rows, as :meth:`aecompress.Autoencoder.fit` takes them; of images in the shape that the module takes.
        validation: rows to choose models by, as ``X``; None: a share of ``X``.
        parameters: of :class:`aecompress.Autoencoder`, but for ``network``, ``hidden``, ``latent`` and
            ``family``.

    Returns:
        The estimator, fitted; its ``report_["before"]`` has the module's own metrics, beside those of the result.

    Raises:
        InputError: a parameter or the rows cannot be used, or a node of the module's graph is no layer here; the
            message names the node and what would help.
        RunError: every model is lost.

    >>> smaller = aecompress.compress(module, X, target_sparsity=0.9, epochs=20)
    >>> smaller.reconstruct(X), smaller.report_, smaller.export("model/")
    """
    from torch import nn

    from aecompress.runs.modules import from_memory

    wrong = [name for name in OF_NETWORK if name in parameters]
    if wrong:
        raise InputError(f"{wrong[0]}: describes another network than the module; leave it out")
    if not isinstance(module, nn.Module):
        cure = (
            "instantiate the class"
            if isinstance(module, type)
            else "weights alone come in by settings={'model.init': FILE}"
        )
        raise InputError(f"module: is of type {type(module).__name__}, not a torch.nn.Module; {cure}")
    name = type(module).__name__
    given: dict[str, Any] = {"scaling": "none", **parameters}
    estimator = Autoencoder(**given)
    return estimator._fit(X, validation, {"model.init": name}, from_memory(name, module))
