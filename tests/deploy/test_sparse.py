"""The packed safetensors: the layout byte for byte, and back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress.deploy import sparse
from aecompress.errors import DataError

WEIGHT = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 2], [0] * 9, [3, 0, 0, 0, 0, 0, 0, 4, 0]], np.float32)


def test_the_four_parts_of_a_weight() -> None:
    parts = sparse.compressed(WEIGHT)
    assert {name: (array.dtype.str, array.tolist()) for name, array in parts.items()} == {
        "shape": ("<i8", [3, 9]),
        "compressed": ("<f4", [1, 2, 3, 4]),
        "bitmask": ("|u1", [[2, 1], [0, 0], [129, 0]]),
        "row_offsets": ("<i8", [0, 2, 2]),
    }


def test_equal_tensors_give_these_bytes(tmp_path: Path) -> None:
    wide = np.zeros((4, 40), np.float32)
    wide[[0, 1, 3], [39, 7, 8]] = [1, -2, 0.5]
    sparse.save_sparse(tmp_path / "a.safetensors", {"encoder.0.weight": wide, "encoder.0.bias": np.ones(4, np.float32)})
    data = (tmp_path / "a.safetensors").read_bytes()
    assert sorted(safetensors.numpy.load(data)) == [
        "encoder.0.bias",
        "encoder.0.weight.bitmask",
        "encoder.0.weight.compressed",
        "encoder.0.weight.row_offsets",
        "encoder.0.weight.shape",
    ]
    assert hashlib.sha256(data).hexdigest() == "93b6fcdd9c108ec20925084aee389886f68700cc6b1d62c38eaa84beb26f747e"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 70), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 1000))
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, out: int, into: int, density: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(out, into)) * (random.random((out, into)) < density)).astype(np.float32)
    tensors = {"encoder.0.weight": weight, "encoder.0.bias": random.normal(size=out).astype(np.float32)}
    tensors["encoder.1.weight"] = weight.reshape(*weight.shape, 1, 1).repeat(2, 2).repeat(3, 3)  # of a convolution
    path = tmp_path_factory.mktemp("sparse") / "m.safetensors"
    sparse.save_sparse(path, tensors)
    loaded = sparse.load_sparse(path)
    assert loaded.keys() == tensors.keys()
    assert all(np.array_equal(loaded[name], tensors[name]) for name in tensors)


def test_it_is_smaller_where_there_are_zeros_and_never_much_larger(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for density, share in ((0.1, 0.16), (1.0, 1.01)):
        weight = (random.normal(size=(300, 300)) * (random.random((300, 300)) < density)).astype(np.float32)
        sparse.save_sparse(tmp_path / "m.safetensors", {"a.weight": weight})
        assert (tmp_path / "m.safetensors").stat().st_size < share * weight.nbytes + 1000


@pytest.mark.parametrize("part", sparse.PARTS[:3])
def test_a_damaged_part_is_told(tmp_path: Path, part: str) -> None:
    parts = {f"a.weight.{name}": array for name, array in sparse.compressed(WEIGHT).items()}
    parts[f"a.weight.{part}"] = parts[f"a.weight.{part}"][:1].copy()
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors.numpy.save(parts))
    with pytest.raises(DataError, match=r"m\.safetensors: a\.weight cannot be rebuilt"):
        sparse.load_sparse(path)
    del parts[f"a.weight.{part}"]
    path.write_bytes(safetensors.numpy.save(parts))
    if part != "bitmask":  # without it nothing says that there is a weight
        with pytest.raises(DataError, match="cannot be rebuilt"):
            sparse.load_sparse(path)
