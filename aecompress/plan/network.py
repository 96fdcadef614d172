"""The network that a spec describes."""

from __future__ import annotations

import math

from aecompress.errors import SpecError
from aecompress.layers.base import Layer, Shape
from aecompress.layers.dense import Dense
from aecompress.layers.kinds import from_json, numbers_of
from aecompress.nets.shapes import Autoencoder, build
from aecompress.spec.fields import LayerSpec, ModelSpec


def network_of(model: ModelSpec, shape: Shape) -> Autoencoder:
    """Build the autoencoder of a complete spec on rows of ``shape``; the decoder mirrors the hidden layers.

    A network whose first layer flattens is given flat rows, any other one rows of their shape.

    Raises:
        SpecError: a written-out layer does not give what it says, or cannot be given what comes to it, or the last one
            does not give rows of the shape that the first one is given.
    """
    flat = (math.prod(shape),)
    variational = model.family == "variational"
    if model.encoder:
        written = model.encoder + model.decoder
        odd = next((layer for layer in (model.encoder[-1], model.decoder[0]) if layer.kind != "dense"), None)
        if variational and odd is not None:
            raise SpecError(
                f"model.family = 'variational': its latent layer and the one after it are dense, not {odd.kind}; "
                "write these as dense layers"
            )
        encoder, decoder = _layers("encoder", model.encoder), _layers("decoder", model.decoder)
        net = build(encoder, decoder, flat if encoder[0].flattens else shape, variational)
        for layer, bound in zip(written, net.layers, strict=True):
            if bound.units != layer.out:
                raise SpecError(f"model: layer {bound.name} ({layer.kind}) gives {bound.units} units, not {layer.out}")
        check_reconstructs(net)
        return net
    assert model.hidden != "auto" and model.latent != "auto"
    hidden = [(size, str(model.activation)) for size in model.hidden]
    encoder = _dense("encoder", [*hidden, (model.latent, str(model.latent_activation))])
    decoder = _dense("decoder", [*reversed(hidden), (*flat, str(model.output))])
    return build(encoder, decoder, flat, variational)


def check_reconstructs(net: Autoencoder) -> None:
    """Refuse a network that does not give rows of the shape that it is given.

    Raises:
        SpecError: with both shapes.
    """
    last = net.layers[-1]
    if last.gives == net.shape:
        return
    if len(net.shape) == len(last.gives) == 1:
        raise SpecError(
            f"model.decoder: its last layer gives {last.gives[0]} values; the rows have {net.inputs} inputs, so set "
            f"its out to {net.inputs}"
        )
    raise SpecError(
        f"model.decoder: its last layer, {last.name} ({last.kind}), gives rows of shape {list(last.gives)}, and the "
        f"network takes {list(net.shape)}; end it with a layer that gives these"
    )


def _layers(part: str, layers: tuple[LayerSpec, ...]) -> list[Layer]:
    return [_layer(f"model.{part}: layer {index}", f"{part}.{index}", layer) for index, layer in enumerate(layers)]


def _layer(where: str, name: str, layer: LayerSpec) -> Layer:
    """Make one written-out layer.

    Raises:
        SpecError: of no known kind, or with numbers that its kind does not have or lacks.
    """
    try:
        made = from_json(name, layer.model_dump())
    except SpecError as fault:
        raise SpecError([f"{where}: {sentence}" for sentence in fault.faults]) from fault
    unknown = sorted(set(layer.model_extra or {}) - set(numbers_of(type(made))))
    if unknown:
        raise SpecError(f"{where}: a {layer.kind} layer has no {unknown[0]!r}; leave it out")
    return made


def _dense(part: str, sizes: list[tuple[int, str]]) -> list[Layer]:
    return [Dense(f"{part}.{index}", *size) for index, size in enumerate(sizes)]
