"""The network that a spec describes."""

from __future__ import annotations

from aecompress.nets.autoencoder import Autoencoder, build
from aecompress.spec.fields import ModelSpec


def network_of(model: ModelSpec, inputs: int) -> Autoencoder:
    """Build the autoencoder of a complete spec on rows of ``inputs`` values; the decoder mirrors the hidden layers."""
    if model.encoder:
        encoder = [(layer.out, str(layer.activation)) for layer in model.encoder]
        decoder = [(layer.out, str(layer.activation)) for layer in model.decoder]
    else:
        assert model.hidden != "auto" and model.latent != "auto"
        encoder = [(size, str(model.activation)) for size in model.hidden]
        decoder = [*reversed(encoder), (inputs, str(model.output))]
        encoder.append((model.latent, str(model.latent_activation)))
    return build(encoder, decoder, inputs, model.family == "variational")
