from __future__ import annotations

import pytest
import torch
from torch import nn

from aecompress.errors import SpecError
from aecompress.plan.conv import arranged, conv_channels, conv_layers
from aecompress.plan.network import network_of
from aecompress.spec.fields import ModelSpec

CHOSEN = [
    # shape of a row, whether it is a window, channels, kinds of the encoder, shape inside
    ((28, 28), False, (16, 32, 64), ["reshape", "conv2d", "conv2d", "conv2d", "dense"], (28, 28, 1)),
    ((8, 8), False, (16,), ["reshape", "conv2d", "dense"], (8, 8, 1)),
    ((32, 32, 3), False, (16, 32, 64), ["conv2d", "conv2d", "conv2d", "dense"], (32, 32, 3)),
    ((3, 32, 32), False, (16, 32, 64), ["permute", "conv2d", "conv2d", "conv2d", "dense"], (32, 32, 3)),
    ((1, 9, 7), False, (16, 32), ["permute", "conv2d", "conv2d", "dense"], (9, 7, 1)),
    ((224, 160, 3), False, (16, 32, 64, 128, 128), ["conv2d"] * 5 + ["dense"], (224, 160, 3)),
    ((64, 6), True, (16, 32, 64), ["conv1d", "conv1d", "conv1d", "dense"], (64, 6)),
    ((16, 12), True, (16,), ["conv1d", "dense"], (16, 12)),
    ((64, 12), False, (16, 32, 64), ["conv1d", "conv1d", "conv1d", "dense"], (64, 12)),
    ((6, 128), False, (16, 32, 64, 128), ["permute", "conv1d", "conv1d", "conv1d", "conv1d", "dense"], (128, 6)),
    ((20, 2, 3), True, (16, 32), ["reshape", "conv1d", "conv1d", "dense"], (20, 6)),
]


def model_of(channels: tuple[int, ...], **changes: object) -> ModelSpec:
    fields = {"network": "conv", "hidden": channels, "latent": 5, "latent_activation": "identity", "output": "sigmoid"}
    return ModelSpec.model_validate(fields | changes)


@pytest.mark.parametrize(("shape", "windows", "channels", "kinds", "inside"), CHOSEN)
def test_the_layers_follow_from_the_shape_of_a_row(
    shape: tuple[int, ...], windows: bool, channels: tuple[int, ...], kinds: list[str], inside: tuple[int, ...]
) -> None:
    assert conv_channels(shape, windows) == channels
    net = network_of(model_of(channels), shape, windows)
    assert [layer.kind for layer in net.encoder] == kinds
    first = next(layer for layer in net.layers if layer.kind.startswith("conv"))
    assert first.given == inside
    assert net.shape == shape == net.decoder[-1].gives and net.latent == 5
    weighted = [layer for layer in net.layers if layer.size > 1]
    assert [layer.units for layer in weighted] == [*channels, 5, *reversed(channels), inside[-1]]
    assert net.decoder[-1].activation == "sigmoid" and net.encoder[-1].activation == "identity"
    hidden = {layer.activation for layer in weighted} - {"sigmoid", "identity"}
    assert hidden == {"relu"}


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 13), (28, 31), (33, 64)])
def test_places_of_the_decoder_are_those_that_torch_computes(size: tuple[int, int]) -> None:
    encoder, decoder = conv_layers(model_of((3, 4, 5)), (*size, 2), False)
    values, shapes = torch.zeros(1, 2, *size), []
    for layer in encoder[:-1]:
        shapes.append(values.shape[2:])
        numbers = {name: tuple(value) for name, value in layer.model_extra.items()}
        values = nn.Conv2d(values.shape[1], layer.out, numbers.pop("kernel"), **numbers)(values)
    assert list(values.shape[2:]) == decoder[0].model_extra["places"] and decoder[0].out == 5
    for layer in decoder[1:]:
        numbers = {name: tuple(value) for name, value in layer.model_extra.items()}
        values = nn.ConvTranspose2d(values.shape[1], layer.out, numbers.pop("kernel"), **numbers)(values)
        assert values.shape[2:] == shapes.pop()
    assert values.shape == (1, 2, *size)


@pytest.mark.parametrize("shape", [(30,), (4, 5, 6, 7)])
def test_rows_without_places_are_refused_with_what_helps(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"a row of [\dx]+ values .* \[N, H, W\].*, a series as .* by --window"):
        conv_channels(shape, False)


def test_no_channels_are_refused() -> None:
    with pytest.raises(SpecError, match=r"model.hidden = \[\]: are the channels .* give some, such as 16,32"):
        network_of(model_of(()), (8, 8))


@pytest.mark.parametrize(
    ("shape", "places", "windows", "inside"),
    [
        ((140,), 1, False, (140, 1)),
        ((28, 28), 1, False, (28, 28)),
        ((6, 128), 1, True, (6, 128)),
        ((32, 10), 2, True, (32, 10, 1)),
        ((2, 2, 5), 2, False, (2, 2, 5)),
    ],
)
def test_rows_come_to_the_places_that_a_layer_takes_and_back(
    shape: tuple[int, ...], places: int, windows: bool, inside: tuple[int, ...]
) -> None:
    found = arranged(shape, places, windows)
    assert found.shape == inside
    assert len(found.front) == len(found.back) == (shape != inside)
