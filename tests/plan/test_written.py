from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest

from aecompress.errors import SpecError
from aecompress.layers.kinds import KINDS
from aecompress.plan.network import network_of
from aecompress.spec.fields import LayerSpec, ModelSpec, usual_activation

Layers = list[dict[str, Any]]
CONV: dict[str, Any] = {"kind": "conv2d", "out": 4, "kernel": 3, "padding": 1}
UP: dict[str, Any] = {**CONV, "out": 1, "activation": "sigmoid"}
CODE: dict[str, Any] = {"out": 3, "activation": "identity"}
WIDE: dict[str, Any] = {"out": 4, "places": [8, 8]}


def net_of(encoder: Layers, decoder: Layers, shape: tuple[int, ...] = (8, 8), windows: bool = False) -> Any:
    return network_of(ModelSpec.model_validate({"encoder": encoder, "decoder": decoder}), shape, windows)


def kinds(encoder: Layers, decoder: Layers, shape: tuple[int, ...] = (8, 8)) -> list[str]:
    net = net_of(encoder, decoder, shape)
    assert net.shape == net.decoder[-1].gives
    return [layer.kind for layer in net.layers]


BUILT = ["reshape", "conv2d", "dense", "dense", "conv2d", "reshape"]
FLAT, WIDENED = {"kind": "flatten"}, [{"out": 256}, {"kind": "unflatten", "to": [8, 8, 4]}]


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        ([CONV, CODE], [WIDE, UP]),
        ([CONV, FLAT, CODE], [*WIDENED, UP]),
        ([{"kind": "reshape", "to": [8, 8, 1]}, CONV, FLAT, CODE], [*WIDENED, UP, {"kind": "flatten"}]),
        ([CONV, FLAT, CODE], [{"out": 256}, {"kind": "reshape", "to": [8, 8, 4]}, UP]),
    ],
)
def test_what_torch_users_write_out_is_one_network(encoder: Layers, decoder: Layers) -> None:
    assert kinds(encoder, decoder) == BUILT
    net = net_of(encoder, decoder)
    dense = net.decoder[0]
    assert dense.gives == (8, 8, 4) and dense.outputs == 256 and dense.units == 4
    assert np.array_equal(dense.matrix.writes, np.arange(256) % 4)
    assert [layer.name for layer in net.encoder] == ["encoder.0", "encoder.1", "encoder.2"]


def test_the_activation_of_the_output_is_that_of_the_last_layer() -> None:
    net = net_of([CONV, CODE], [WIDE, UP])
    assert [layer.activation for layer in net.decoder] == ["relu", "identity", "sigmoid"]


def test_a_code_of_channels_needs_no_flatten() -> None:
    expected = ["reshape", "conv2d", "conv2d", "reshape"]
    assert kinds([CONV], [UP]) == expected
    assert kinds([CONV, FLAT], [{"kind": "unflatten", "to": [8, 8, 4]}, UP]) == expected


def test_convolutions_and_dense_layers_may_be_at_one_end_each() -> None:
    assert kinds([CONV, CODE], [{"out": 64, "activation": "sigmoid"}]) == [
        "reshape",
        "conv2d",
        "dense",
        "dense",
        "reshape",
    ]
    assert kinds([FLAT, {"out": 9}, CODE], [WIDE, UP]) == ["dense", "dense", "dense", "conv2d", "reshape"]
    channels_first = kinds([{"out": 9}, CODE], [WIDE, {**UP, "out": 3}], (3, 8, 8))
    assert channels_first == ["dense", "dense", "dense", "conv2d", "permute", "reshape"]


def test_images_with_their_channels_first_come_out_so() -> None:
    net = net_of([CONV, CODE], [WIDE, {**UP, "out": 3}], (3, 8, 8))
    assert [layer.kind for layer in (net.encoder[0], net.decoder[-1])] == ["permute", "permute"]
    assert net.shape == net.decoder[-1].gives == (3, 8, 8) and net.encoder[1].given == (8, 8, 3)


def test_a_kind_without_an_activation_of_its_own_has_what_its_class_says() -> None:
    for name, kind in KINDS.items():
        declared = {field.name: field.default for field in fields(kind)}["activation"]  # type: ignore[arg-type]
        assert usual_activation(name) == ("relu" if declared is MISSING else declared)


def test_pools_have_no_activation_and_no_out_of_their_own() -> None:
    assert LayerSpec.model_validate({"kind": "max-pool", "kernel": [2, 2]}).activation == "identity"
    assert LayerSpec.model_validate({"kind": "conv2d", "out": 3}).activation == "relu"
    pooled = [{"kind": "conv2d", "out": 4, "kernel": [3, 3], "padding": "same"}, {"kind": "max-pool", "kernel": [2, 2]}]
    wide = {"out": 4, "places": [4, 4]}
    net = net_of([*pooled, CODE], [wide, {"kind": "upsample", "factor": 2}, UP])
    assert [layer.kind for layer in net.layers if not layer.weighted] == ["reshape", "max-pool", "upsample", "reshape"]


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        ([{"kind": "reshape", "to": [8, 4]}, CODE], [WIDE, UP], r"encoder.0 .reshape. gives .* \[8, 4\], .* \[8, 8\]"),
        ([{"kind": "reshape", "to": [64]}], [FLAT], r"model.encoder: no layer of it has weights"),
        ([FLAT], [{"out": 64}], r"model.encoder: no layer of it has weights"),
        ([CONV, FLAT, CONV, CODE], [WIDE, UP], r"model.encoder: layer 1: a flatten layer here would mix the units"),
        ([CONV, {"kind": "permute", "axes": [2, 0, 1]}, CODE], [WIDE, UP], r"layer 1: a permute layer here would mix"),
        ([CONV, {**FLAT, "activation": "relu"}, CODE], [WIDE, UP], r"layer 1: a flatten layer has no activation"),
        ([{**CONV, "kernel": 0.5}, CODE], [WIDE, UP], r"layer 0: kernel = 0.5: a conv2d layer takes"),
        ([CONV, CODE], [{"out": 9}, UP], r"layer decoder.1 .conv2d. takes rows of .* given rows of shape \[9\]"),
        ([CONV, CODE], [WIDE, {**UP, "out": 2}], r"gives rows of shape \[8, 8, 2\], and the network takes \[8, 8\]"),
        ([{**CONV, "twist": 3}, CODE], [WIDE, UP], r"layer 0: a conv2d layer has no 'twist'; leave it out"),
    ],
)
def test_layers_that_cannot_be_are_refused_in_one_sentence(encoder: Layers, decoder: Layers, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        net_of(encoder, decoder)
    assert len(caught.value.faults) == 1
