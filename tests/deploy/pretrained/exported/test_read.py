"""Modules come in with their weights and give what they gave, or are refused by the name of a node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aecompress.deploy import reference
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.exported.read import read_module
from aecompress.errors import DataError
from tests.deploy.pretrained.exported.zoo import MORE, REFUSED, TAKEN, WIDTH, Written, rows_of


def own(module: nn.Module, rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """What a module gives for rows, by torch alone: in evaluation mode, without noise."""
    module = getattr(module, "_orig_mod", module).float().eval()
    given = torch.from_numpy(rows)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", torch.zeros_like)
        patch.setattr("torch.distributions.normal._standard_normal", lambda shape, **_: torch.zeros(shape))
        found = module.decoder(module(given)) if type(module).__name__ == "Parts" else module(given)
    found = found["recon"] if isinstance(found, dict) else found[0] if isinstance(found, tuple) else found
    return found.numpy()


SLOW = ("normal", "residual images", "images with the channel last", "flat images", "wrapped", "double")
"""Modules whose graphs take longer, or that others are much like."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in (*SLOW, *MORE) else ()) for name in [*TAKEN, *MORE]],
)
def test_a_module_comes_in_and_gives_what_it_gave(name: str) -> None:
    make, shape, kinds = (TAKEN | MORE)[name]
    torch.manual_seed(1)
    module, rows = make(), rows_of(shape)
    state = {key: value.clone() for key, value in module.state_dict().items()} if name != "lazy" else {}
    training = module.training
    found = read_module(name, module, rows)
    assert module.training is training and all(
        torch.equal(value, module.state_dict()[key]) for key, value in state.items()
    )
    layers = bound(found, shape)
    assert not kinds or tuple(layer.kind for layer in layers) == kinds
    gives = reference.run(layers, found.tensors, rows.reshape(len(rows), *layers[0].given)).reshape(len(rows), -1)
    if name != "lazy":  # whose weights were drawn in a copy
        given = rows.reshape(len(rows), 1, 8, 8) if "images" in name else rows
        last = name == "colours last"
        wanted = own(module, np.ascontiguousarray(given.transpose(0, 3, 1, 2)) if last else given)
        wanted = wanted.transpose(0, 2, 3, 1) if last else wanted
        assert np.abs(gives - wanted.reshape(len(rows), -1)).max() < 1e-5


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_by_its_node_with_what_would_help(name: str) -> None:
    make, words, shape = REFUSED[name]
    with pytest.raises(DataError) as caught:
        read_module("Net", make(), rows_of(shape))
    message = str(caught.value)
    assert message.startswith("Net: ") and "\n" not in message and all(word in message for word in words), message


def test_the_code_that_a_module_gives_is_where_the_decoder_begins() -> None:
    layers = {"a": nn.Linear(WIDTH, 3), "b": nn.Linear(3, 6), "c": nn.Linear(6, WIDTH)}

    def forward(module: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.tanh(module.b(torch.relu(module.a(x))))
        return module.c(z), z

    found = read_module("Net", Written(forward, **layers), rows_of((WIDTH,)))
    assert [layer.outputs for layer in found.encoder] == [3, 6] and len(found.decoder) == 1
    assert found.notes == ("model.init: of what forward gives, the reconstruction was taken, and not 1",)


def test_a_network_without_a_narrow_layer_has_layers_with_weights_in_both_halves() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    found = read_module("Net", net, rows_of((1, 8, 8)))
    assert [layer.kind for layer in found.encoder][-1] == "conv2d" and found.decoder[0].kind == "conv2d"
