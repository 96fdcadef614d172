"""Tensors as a chain of layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.deploy.pretrained.readings import from_tensors
from aecompress.errors import DataError

DOWN, UP = np.ones((4, 2), np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)
BIAS = np.arange(4, dtype=np.float32)


def test_names_are_sorted_by_number_and_split_at_the_narrowest(tmp_path: Path) -> None:
    sizes = [6, 6, 6, 6, 6, 2, 6, 6, 6, 6, 6, 6, 6]
    tensors = {}
    for index, (before, after) in enumerate(zip(sizes, [*sizes[1:], 6], strict=True)):
        tensors[f"net.{index}.weight"] = np.full((after, before), index, np.float32)
    pretrained = from_tensors(tmp_path / "a.pt", tensors)
    assert [
        int(pretrained.tensors[f"{layer.name}.weight"][0, 0]) for layer in pretrained.encoder + pretrained.decoder
    ] == list(range(13))
    assert pretrained.encoder[-1].outputs == 2
    assert not pretrained.tensors["encoder.0.bias"].any()  # left out in the file


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a.weight": np.ones((2, 4, 3, 3), np.float32)}, "goes from 4 to 4 values in 1 layer"),
        (
            {"a.weight": DOWN.T, "b.weight": UP.T, "b.running_mean": BIAS},
            "b.running_mean is not a weight or bias of a layer",
        ),
        ({"a.weight": DOWN.T, "b.weight": np.ones((4, 3), np.float32)}, "a has 2 outputs, b 3 inputs"),
        ({"a.weight": DOWN.T, "a.bias": BIAS}, "bias of a has shape (4,)"),
        ({"a.weight": np.ones((4, 4), np.float32)}, "goes from 4 to 4 values in 1 layer"),
        ({"a.weight": DOWN.T, "b.weight": UP.T * np.nan}, "not finite"),
        ({"a.weight": DOWN.T.astype(np.int32), "b.weight": UP.T}, "holds int32"),
        ({}, "holds no linear layer and no convolution"),
    ],
)
def test_tensors_that_are_not_an_autoencoder_are_refused_by_name(
    tmp_path: Path, tensors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        from_tensors(tmp_path / "a.pt", tensors)
    assert message in str(caught.value)


def test_numbers_in_names_are_sorted_by_value_however_long() -> None:
    sizes = {"9" * 900: (4, 3), "10": (3, 2), "009": (2, 4)}
    tensors = {f"{number}.weight": np.ones(shape, np.float32) for number, shape in sizes.items()}
    found = from_tensors(Path("a.pt"), tensors)
    assert [layer.outputs for layer in found.encoder + found.decoder] == [2, 3, 4]


def test_a_name_without_end_is_refused() -> None:
    with pytest.raises(DataError, match="names a tensor with 5007 characters"):
        from_tensors(Path("a.pt"), {"9" * 5000 + ".weight": np.ones((2, 2), np.float32)})


def test_a_sparse_autoencoder_of_parameters_alone_is_read() -> None:
    random = np.random.default_rng(0)
    tensors = {"W_enc": random.normal(size=(4, 9)), "b_enc": np.zeros(9), "W_dec": random.normal(size=(9, 4))}
    found = from_tensors(Path("a.safetensors"), tensors, (4,), defined=False)
    assert np.array_equal(found.tensors["encoder.0.weight"], tensors["W_enc"].astype(np.float32))
