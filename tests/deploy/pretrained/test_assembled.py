"""Steps as layers of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aecompress.deploy.pretrained.assembled import assembled
from aecompress.deploy.pretrained.steps import Step, activation
from aecompress.errors import DataError
from tests.deploy.pretrained.modules import Plain, same_function, shapes, steps_of

PATH = Path("a.pt")


def linear(name: str, *shape: int) -> Step:
    return Step(name, "linear", {"weight": np.ones(shape, np.float32)})


def test_a_chain_of_linear_layers_is_the_same_function() -> None:
    module = Plain()
    encoder, decoder = steps_of(module.encoder), steps_of(module.decoder)
    found = assembled(PATH, [*encoder, *(step._replace(name="decoder." + step.name) for step in decoder)])
    assert shapes(found)[1:3] == [("encoder.1", 8, 3, "identity"), ("decoder.0", 3, 8, "relu")]
    assert same_function(found, module)


@pytest.mark.parametrize("own", [(3, 4), (12,), (1, 3, 4)])
def test_rows_of_any_shape_that_are_flattened_first_are_flat(own: tuple[int, ...]) -> None:
    steps = [Step("f", "flatten"), linear("a", 2, 12), linear("b", 12, 2), Step("u", "unflatten", {}, {"shape": own})]
    found = assembled(PATH, steps, rows=(3, 4), own=own)
    assert [layer.kind for layer in found.encoder + found.decoder] == ["dense", "dense"]


@pytest.mark.parametrize(
    ("names", "sizes", "code", "first"),
    [
        (["enc.0", "enc.2", "dec.0", "dec.2"], [6, 4, 6, 6, 6], "", "dec.0"),
        (["enc1", "enc2", "dec1", "dec2"], [6, 6, 6, 6, 6], "", "dec1"),
        (["inp", "hidden", "code", "out"], [6, 6, 6, 6, 6], "", "code"),
        (["a", "b", "c"], [6, 4, 5, 6], "b", "c"),
        (["decode_first", "b", "c"], [6, 5, 4, 6], "", "c"),
        (["fc1", "fc2"], [6, 96, 6], "", "fc2"),
    ],
)
def test_the_decoder_begins_by_name_or_after_the_narrowest(
    names: list[str], sizes: list[int], code: str, first: str
) -> None:
    steps = [
        Step(name, "linear", {"weight": np.full((after, before), index)})
        for index, (name, before, after) in enumerate(zip(names, sizes, sizes[1:], strict=False))
    ]
    found = assembled(PATH, steps, code=code)
    assert found.tensors["decoder.0.weight"][0, 0] == names.index(first)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "holds no linear layer"),
        ([linear("a", 2, 4), linear("b", 4, 3)], "a has 2 outputs, b 3 inputs"),
        ([linear("a", 4, 4)], "goes from 4 to 4 values in 1 layer"),
        ([linear("a", 2, 4), linear("b", 3, 2)], "goes from 4 to 3 values in 2 layer"),
        ([linear("a", 2, 4), Step("b", "linear", {"weight": np.full((4, 2), np.nan)})], "b holds values that are not"),
    ],
)
def test_what_is_no_autoencoder_is_refused_by_name(steps: list[Step], message: str) -> None:
    with pytest.raises(DataError, match="^a.pt: ") as caught:
        assembled(PATH, steps)
    assert message in str(caught.value)


def test_an_unknown_activation_stays_unknown() -> None:
    found = assembled(PATH, [linear("a", 2, 4), activation("a"), linear("b", 4, 2), activation("b", "tanh")])
    assert [layer.activation for layer in found.encoder + found.decoder] == ["", "tanh"]


def test_a_batch_norm_after_an_activation_keeps_the_function() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 12))
    module(torch.randn(64, 12))
    assert same_function(assembled(PATH, steps_of(module)), module.eval())
