"""Modules come in with their weights and give what they gave, or are refused by the name of a node."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aecompress.deploy import reference
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.exported.read import read_module
from aecompress.errors import DataError
from aecompress.layers.kinds import KINDS
from tests.deploy.pretrained.exported.zoo import REFUSED, TAKEN, rows_of


def own(module: nn.Module, rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """What a module gives for rows, by torch alone: in evaluation mode, without noise."""
    module = module.float().eval()
    given = torch.from_numpy(rows)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", torch.zeros_like)
        patch.setattr("torch.distributions.normal._standard_normal", lambda shape, **_: torch.zeros(shape))
        found = module.decoder(module(given)) if type(module).__name__ == "Parts" else module(given)
    found = found["recon"] if isinstance(found, dict) else found[0] if isinstance(found, tuple) else found
    return found.numpy()


@pytest.mark.parametrize("name", TAKEN)
def test_a_module_comes_in_and_gives_what_it_gave(name: str) -> None:
    make, shape, kinds = TAKEN[name]
    if not kinds and not {"conv2d-transpose", "lstm", "max-pool"} <= KINDS.keys():
        pytest.skip("layers with places are not there yet")
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
        assert np.abs(gives - own(module, given).reshape(len(rows), -1)).max() < 1e-5


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_by_its_node_with_what_would_help(name: str) -> None:
    make, words, shape = REFUSED[name]
    with pytest.raises(DataError) as caught:
        read_module("Net", make(), rows_of(shape))
    message = str(caught.value)
    assert message.startswith("Net: ") and "\n" not in message and all(word in message for word in words), message
