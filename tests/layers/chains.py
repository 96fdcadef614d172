"""A network of every kind, as a spec writes it, on rows of twelve values: what tables over the kinds go through."""

from __future__ import annotations

from typing import Any, NamedTuple

from aecompress.layers.kinds import KINDS
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.network import network_of
from aecompress.spec.fields import ModelSpec

Layers = list[dict[str, Any]]
CODE: dict[str, Any] = {"out": 3, "activation": "identity"}
SERIES, IMAGE, COLOURS = (6, 2), (3, 4), (2, 2, 3)


class Chain(NamedTuple):
    """Layers around a kind, and the shape of a row."""

    encoder: Layers
    decoder: Layers
    shape: tuple[int, ...] = (12,)

    def net(self, **changes: Any) -> Autoencoder:
        """Build the network."""
        return network_of(ModelSpec.model_validate(self.fields | changes), self.shape)

    @property
    def layers(self) -> Layers:
        """All layers."""
        return self.encoder + self.decoder

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the model in a spec."""
        return {"encoder": self.encoder, "decoder": self.decoder}


def conv(kind: str, out: int, *, activation: str = "relu", **numbers: Any) -> dict[str, Any]:
    """A convolution of width 3 that keeps places where its stride is 1."""
    axes = int(kind[4])
    usual = {"kernel": [3] * axes, "padding": [1] * axes}
    return {"kind": kind, "out": out, "activation": activation} | usual | numbers


def between(*layers: dict[str, Any], shape: tuple[int, ...] = COLOURS) -> Chain:
    """Layers behind a convolution over images, before a dense code; the decoder is dense."""
    return Chain([conv("conv2d", 4), *layers, CODE], [{"out": 5}, {"out": 12, "activation": "sigmoid"}], shape)


def recurrent(kind: str) -> Chain:
    """A sequence to its last value and back, as autoencoders of sequences are."""
    decoder = [{"kind": "repeat", "times": 6}, {"kind": kind, "out": 4}, conv("conv1d", 2, kernel=[1], padding=[0])]
    return Chain([{"kind": kind, "out": 4, "sequences": False}, CODE], decoder, SERIES)


PLACES: dict[str, Any] = {"out": 4, "places": [2, 2]}
EVERY: dict[str, Chain] = {
    "dense": Chain([{"out": 6}, CODE], [{"out": 6}, {"out": 12, "activation": "sigmoid"}]),
    "conv1d": Chain(
        [conv("conv1d", 5), CODE], [{"out": 4, "places": [6]}, conv("conv1d", 2, activation="sigmoid")], SERIES
    ),
    "conv1d-transpose": Chain(
        [conv("conv1d", 5, stride=[2]), CODE],
        [
            {"out": 4, "places": [3]},
            conv("conv1d-transpose", 2, activation="sigmoid", stride=[2], output_padding=[1]),
        ],
        SERIES,
    ),
    "conv2d": Chain(
        [conv("conv2d", 5), CODE], [{"out": 4, "places": [3, 4]}, conv("conv2d", 1, activation="sigmoid")], IMAGE
    ),
    "conv2d-transpose": Chain(
        [conv("conv2d", 5, stride=[2, 2]), CODE],
        [
            PLACES,
            conv("conv2d-transpose", 1, activation="sigmoid", stride=[2, 2], output_padding=[0, 1]),
        ],
        IMAGE,
    ),
    "conv2d by channel": between(conv("conv2d", 4, groups=4)),
    "conv2d in groups": between(conv("conv2d", 6, groups=2)),
    "max-pool": between({"kind": "max-pool", "kernel": [2, 2]}),
    "avg-pool": between({"kind": "avg-pool", "kernel": [2, 1]}),
    "global-avg-pool": between({"kind": "global-avg-pool"}),
    "scale": between({"kind": "scale", "activation": "relu"}),
    "prelu": between({"kind": "prelu"}),
    "upsample": Chain(
        [conv("conv2d", 4), CODE],
        [{"out": 4, "places": [1, 1]}, {"kind": "upsample", "factor": [2, 2]}, conv("conv2d", 3)],
        COLOURS,
    ),
    "reshape": Chain([conv("conv2d", 5), CODE], [{"out": 12, "activation": "sigmoid"}], IMAGE),
    "permute": Chain(
        [conv("conv2d", 5), CODE], [{"out": 4, "places": [3, 4]}, conv("conv2d", 1, activation="sigmoid")], (1, 3, 4)
    ),
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
}
"""By kind; some kinds have several."""
CHAINS = {
    name: chain for name, chain in EVERY.items() if {layer.get("kind", "dense") for layer in chain.layers} <= set(KINDS)
}
"""Those whose kinds there are."""
