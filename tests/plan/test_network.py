from __future__ import annotations

from typing import Any

import pytest

from aecompress.errors import SpecError
from aecompress.plan.network import network_of
from aecompress.spec.fields import LayerSpec, ModelSpec


def test_the_decoder_mirrors_the_encoder() -> None:
    net = network_of(ModelSpec(hidden=(20, 10), latent=4, latent_activation="identity", output="identity"), (30,))
    assert [layer.outputs for layer in net.layers] == [20, 10, 4, 10, 20, 30]
    assert [layer.activation for layer in net.layers] == ["relu", "relu", "identity", "relu", "relu", "identity"]
    assert net.latent == 4
    assert net.encoder_size == 31 * 20 + 21 * 10 + 11 * 4
    assert net.log_variance is None


def test_layers_that_are_written_out_are_taken_as_they_are() -> None:
    model = ModelSpec(
        encoder=(LayerSpec(out=9, activation="gelu"), LayerSpec(out=2, activation="tanh")),
        decoder=(LayerSpec(out=30, activation="sigmoid"),),
    )
    assert [
        (layer.name, layer.inputs, layer.outputs, layer.activation) for layer in network_of(model, (30,)).layers
    ] == [
        ("encoder.0", 30, 9, "gelu"),
        ("encoder.1", 9, 2, "tanh"),
        ("decoder.0", 2, 30, "sigmoid"),
    ]


def test_the_variational_family_has_a_second_head() -> None:
    model = ModelSpec(family="variational", hidden=(7,), latent=3, latent_activation="identity", output="sigmoid")
    head = network_of(model, (12,)).log_variance
    assert head is not None and (head.inputs, head.outputs) == (7, 3)


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        ({"kind": "lstm", "out": 3}, "its latent layer is dense, not lstm; write it as one"),
        ({"out": 3, "places": [2]}, "its latent layer gives a code without places; leave out its places"),
    ],
)
def test_a_code_that_the_second_head_cannot_stand_beside_is_refused(latent: dict[str, Any], message: str) -> None:
    decoder = (LayerSpec(kind="conv1d", out=3, kernel=[1]), LayerSpec(out=8))
    model = ModelSpec(family="variational", encoder=(LayerSpec(**latent),), decoder=decoder)
    with pytest.raises(SpecError, match=message):
        network_of(model, (4, 2))
