"""A pretrained autoencoder as layers that can be computed with."""

from __future__ import annotations

from aecompress.deploy.pretrained.base import Pretrained
from aecompress.layers.base import BoundLayer, Shape, bind
from aecompress.layers.kinds import from_json


def bound(found: Pretrained, shape: Shape) -> tuple[BoundLayer, ...]:
    """Return encoder and decoder as one chain on rows of ``shape``, or on flat rows where its first layer takes these.

    Raises:
        SpecError: a layer cannot be given what comes to it.
    """
    layers = [
        from_json(
            layer.name, {**layer.numbers, "kind": layer.kind, "out": layer.outputs, "activation": layer.activation}
        )
        for layer in (*found.encoder, *found.decoder)
    ]
    return bind(layers, (found.inputs,) if layers[0].flattens else shape)
