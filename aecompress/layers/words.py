"""A chain of layers in words."""

from __future__ import annotations

from collections.abc import Sequence

from aecompress.layers.base import BoundLayer


def shapes_of(layers: Sequence[BoundLayer]) -> str:
    """Return the shapes of a row and of what each layer with weights gives, as ``28x28-14x14x16-64-28x28``."""
    *inner, _ = (layer.gives for layer in layers if layer.weighted)
    return "-".join("x".join(map(str, shape)) for shape in (layers[0].given, *inner, layers[-1].gives))
