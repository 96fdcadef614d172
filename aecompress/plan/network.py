"""The network that a spec describes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aecompress.errors import SpecError
from aecompress.layers.base import Layer, Shape
from aecompress.layers.dense import Dense
from aecompress.nets.shapes import Autoencoder, build
from aecompress.plan.conv import conv_layers
from aecompress.plan.written import Written, as_brought, completed, made
from aecompress.spec.fields import ModelSpec


def network_of(model: ModelSpec, shape: Shape, windows: bool = False) -> Autoencoder:
    """Build the autoencoder of a complete spec on rows of ``shape``; the decoder mirrors the hidden layers.

    A network whose first layer flattens is given flat rows, any other one rows of their shape.

    Args:
        windows: whether a row is a window of a series, ``(length, ...)``.

    Raises:
        SpecError: a written-out layer does not give what it says, or cannot be given what comes to it, or the last one
            does not give rows of the shape that the first one is given.
    """
    if model.encoder or model.network == "conv":
        return written_out(model, shape, windows)
    assert model.hidden != "auto" and model.latent != "auto"
    flat = (math.prod(shape),)
    hidden = [(size, str(model.activation)) for size in model.hidden]
    encoder = _dense("encoder", [*hidden, (model.latent, str(model.latent_activation))])
    decoder = _dense("decoder", [*reversed(hidden), (*flat, str(model.output))])
    return build(encoder, decoder, flat, model.family == "variational")


def written_out(model: ModelSpec, row: Shape, windows: bool) -> Autoencoder:
    """Build the autoencoder whose layers a spec writes out, or that are chosen from the shape of a row.

    Raises:
        SpecError: as :func:`network_of`.
    """
    variational = model.family == "variational"
    parts = (model.encoder, model.decoder) if model.encoder else conv_layers(model, row, windows)
    given, layers = as_brought(*parts, row) if model.init else completed(*parts, row, windows)
    encoder, decoder = ([one for one in layers if one.part == part] for part in ("encoder", "decoder"))
    for part, own in (("encoder", encoder), ("decoder", decoder)):
        if not own:
            raise SpecError(f"model.{part}: no layer of it has weights; add one, such as a dense layer")
    if variational and encoder[-1].kind != Dense.kind:
        raise SpecError(
            f"model.family = 'variational': its latent layer is dense, not {encoder[-1].kind}; write it as one"
        )
    net = build(numbered(encoder), numbered(decoder), given, variational)
    if variational and len(net.encoder[-1].gives) > 1:
        raise SpecError(
            "model.family = 'variational': its latent layer gives a code without places; leave out its places"
        )
    for one, bound in zip(layers, net.layers, strict=True):
        if one.layer.out is not None and bound.units != one.layer.out:
            raise SpecError(f"{one.where}: a {one.kind} layer gives {bound.units} units, not {one.layer.out}")
    check_reconstructs(net)
    return net


def numbered(part: Sequence[Written]) -> list[Layer]:
    """Make the layers of a part, named by their places in it."""
    return [made(one, f"{one.part}.{at}") for at, one in enumerate(part)]


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


def _dense(part: str, sizes: list[tuple[int, str]]) -> list[Layer]:
    return [Dense(f"{part}.{index}", *size) for index, size in enumerate(sizes)]
