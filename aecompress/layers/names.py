"""Names of activations and kinds, for whoever checks names alone: no NumPy is imported with them."""

from __future__ import annotations

import re

NAMES = (
    "identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid", "elu", "selu", "relu6", "softplus", "softsign", "silu",
    "mish", "hard-swish", "hard-tanh",
)  # fmt: skip
"""The rows of :data:`aecompress.layers.activations.ACTIVATIONS`."""
HIDDEN_NAMES = tuple(name for name in NAMES if name != "identity")
"""Those that hidden layers can have."""
SPELLINGS = {
    "leaky_relu": "leaky-relu", "hardswish": "hard-swish", "hardtanh": "hard-tanh", "swish": "silu", "celu": "elu",
}  # fmt: skip
"""Other libraries' names, which a spec may have as well; with torch's alpha of 1, CELU is ELU (Barron 2017)."""
SHAPING = ("flatten", "unflatten", "reshape", "permute")
"""Kinds that only change the shape or the order of their values."""
WITHOUT_ACTIVATION = (
    *SHAPING, "max-pool", "avg-pool", "global-avg-pool", "upsample", "repeat", "lstm", "gru", "scale", "prelu",
)  # fmt: skip
"""Kinds behind which there is no activation where none is named."""
SLOPED = r"leaky-relu:([0-9]{1,3}(?:\.[0-9]{1,20})?)"
"""How leaky-relu is written with another slope than 0.01 below 0."""
SLOPED_EXAMPLE = "leaky-relu:0.2"


def slope_of(name: str) -> float | None:
    """Return the slope below 0 that a name such as ``leaky-relu:0.2`` gives; None of any other name."""
    found = re.fullmatch(SLOPED, name)
    return float(found[1]) if found else None
