"""Names of activations and kinds, for whoever checks names alone: no NumPy is imported with them."""

from __future__ import annotations

from typing import Literal

ActivationName = Literal["identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid"]
"""The rows of :data:`aecompress.layers.activations.ACTIVATIONS`."""
HiddenActivationName = Literal["relu", "leaky-relu", "gelu", "tanh"]
"""Those that a hidden layer of the default recipe can have."""

SHAPING = ("flatten", "unflatten", "reshape", "permute")
"""Kinds that only change the shape or the order of their values."""

WITHOUT_ACTIVATION = (
    *SHAPING,
    "max-pool",
    "avg-pool",
    "global-avg-pool",
    "upsample",
    "repeat",
    "lstm",
    "gru",
    "scale",
    "prelu",
)
"""Kinds behind which there is no activation where none is named."""
