"""The network that a spec describes."""

from __future__ import annotations

from aecompress.errors import SpecError
from aecompress.layers.base import Layer
from aecompress.layers.dense import Dense
from aecompress.layers.kinds import KINDS, from_json, to_json
from aecompress.nets.autoencoder import Autoencoder, build
from aecompress.spec.fields import LayerSpec, ModelSpec


def network_of(model: ModelSpec, inputs: int) -> Autoencoder:
    """Build the autoencoder of a complete spec on rows of ``inputs`` values; the decoder mirrors the hidden layers.

    Raises:
        SpecError: a written-out layer does not give what it says, or cannot be given what comes to it.
    """
    variational = model.family == "variational"
    if model.encoder:
        written = model.encoder + model.decoder
        odd = next((layer for layer in (model.encoder[-1], model.decoder[0]) if layer.kind != "dense"), None)
        if variational and odd is not None:
            raise SpecError(
                f"model.family = 'variational': its latent layer and the one after it are dense, not {odd.kind}; "
                "write these as dense layers"
            )
        net = build(_layers("encoder", model.encoder), _layers("decoder", model.decoder), (inputs,), variational)
        for layer, bound in zip(written, net.layers, strict=True):
            if bound.units != layer.out:
                raise SpecError(f"model: layer {bound.name} ({layer.kind}) gives {bound.units} units, not {layer.out}")
        return net
    assert model.hidden != "auto" and model.latent != "auto"
    encoder = [(size, str(model.activation)) for size in model.hidden]
    decoder = [*reversed(encoder), (inputs, str(model.output))]
    encoder.append((model.latent, str(model.latent_activation)))
    return build(_dense("encoder", encoder), _dense("decoder", decoder), (inputs,), variational)


def _layers(part: str, layers: tuple[LayerSpec, ...]) -> list[Layer]:
    return [_layer(f"model.{part}: layer {index}", f"{part}.{index}", layer) for index, layer in enumerate(layers)]


def _layer(where: str, name: str, layer: LayerSpec) -> Layer:
    """Make one written-out layer.

    Raises:
        SpecError: of no known kind, or with numbers that its kind does not have or lacks.
    """
    if layer.kind not in KINDS:
        raise SpecError(f"{where}: kind = {layer.kind!r} is not known; choose one of {', '.join(KINDS)}")
    try:
        made = from_json(name, layer.model_dump())
    except (KeyError, TypeError, ValueError) as fault:
        raise SpecError(f"{where}: a {layer.kind} layer needs {fault}; give it as the kind's docstring says") from fault
    unknown = sorted(set(layer.model_extra or {}) - set(to_json(made)))
    if unknown:
        raise SpecError(f"{where}: a {layer.kind} layer has no {unknown[0]!r}; leave it out")
    return made


def _dense(part: str, sizes: list[tuple[int, str]]) -> list[Layer]:
    return [Dense(f"{part}.{index}", *size) for index, size in enumerate(sizes)]
