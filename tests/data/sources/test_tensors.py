"""Tensors and variables by name: one of several arrays, or the sentence that lists them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from scipy.io import savemat

from aecompress.data.base import Part
from aecompress.data.sources.formats import read_array
from aecompress.errors import DataError
from tests.data.sources.files import ROWS, written


def two(folder: Path) -> list[Path]:
    """Files of two arrays, ``a`` and ``b``, in every format."""
    arrays = {"a": ROWS, "b": ROWS + 1}
    save_file(arrays, folder / "two.safetensors")
    savemat(folder / "two.mat", arrays, do_compression=True)
    torch.save({name: torch.tensor(rows) for name, rows in arrays.items()}, folder / "two.pt")
    with h5py.File(folder / "two.h5", "w") as file:
        file.update(arrays)
    with h5py.File(folder / "v73.mat", "w", userblock_size=512) as file:
        file.update({name: rows.T for name, rows in arrays.items()})
    with (folder / "v73.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return [folder / name for name in ("two.safetensors", "two.mat", "two.pt", "two.h5", "v73.mat")]


def test_a_key_chooses_an_array(tmp_path: Path) -> None:
    for path in two(tmp_path):
        assert np.array_equal(read_array(path, Part("a")), ROWS)
        assert np.array_equal(read_array(path, Part("b")), ROWS + 1)
        with pytest.raises(DataError, match=r"holds a, b; choose one, as in .*:a"):
            read_array(path)
        with pytest.raises(DataError, match=r"has no array 'c'; it holds a, b"):
            read_array(path, Part("c"))


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    tensor = torch.tensor(ROWS / 3).bfloat16()
    save_torch({"x": tensor}, tmp_path / "x.safetensors")
    torch.save(tensor, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        assert np.array_equal(read_array(tmp_path / name), tensor.float().numpy())


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"[]", "cannot be read as safetensors"),
        (b'{"x": {"dtype": "F32"}}', "cannot be read as safetensors"),
        (b'{"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}', "has shape"),
        (b'{"x": {"dtype": "F32", "shape": [-4], "data_offsets": [0, -16]}}', "has shape"),
        (b'{"x": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}', "ends before 'x' does"),
        (b'{"x": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}', "holds values of type F4"),
        (b"{}", "holds no arrays of numbers"),
    ],
)
def test_hostile_headers_of_safetensors_are_one_sentence(tmp_path: Path, header: bytes, sentence: str) -> None:
    path = written(tmp_path / "x.safetensors", len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(DataError, match=rf"x\.safetensors: .*{sentence}"):
        read_array(path)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    torch.save({"x": json.JSONEncoder()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="cannot be read as tensors .*; save a tensor, or a dict of tensors"):
        read_array(tmp_path / "x.pt")
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(DataError, match="holds no arrays of numbers"):
        read_array(tmp_path / "x.pt")


MATRICES = {
    "float64": ROWS.astype(np.float64) / 3,
    "float32": ROWS / 3,
    "int16": ROWS.astype(np.int16) - 5,
    "uint64": ROWS.astype(np.uint64),
    "bool": ROWS > 5,
    "cube": np.arange(24.0).reshape(2, 3, 4),
    "longer_name_than_four": ROWS[:, :1],
}


@pytest.mark.parametrize("compress", [False, True])
def test_matlab_files_give_what_scipy_wrote(tmp_path: Path, compress: bool) -> None:
    others = {"text": "a", "cell": np.array([1, "a"], dtype=object), "struct": {"a": 1}}
    savemat(tmp_path / "x.mat", MATRICES | others, do_compression=compress)
    for name, rows in MATRICES.items():
        read = read_array(tmp_path / "x.mat", Part(name))
        assert np.array_equal(read, rows) and (read.dtype == rows.dtype or name == "bool")
    savemat(tmp_path / "x.mat", {"x": ROWS * 1j}, do_compression=compress)
    with pytest.raises(DataError, match="'x' holds complex numbers"):
        read_array(tmp_path / "x.mat")
    savemat(tmp_path / "x.mat", {"x": ROWS}, format="4")
    with pytest.raises(DataError, match="it has no mark of version 5.*; save it again, by save -v7"):
        read_array(tmp_path / "x.mat")


def test_damage_anywhere_in_a_matlab_file_is_a_data_error_or_harmless(tmp_path: Path) -> None:
    for compress in (False, True):
        savemat(tmp_path / "x.mat", {"x": np.random.default_rng(0).random((20, 3))}, do_compression=compress)
        whole = (tmp_path / "x.mat").read_bytes()
        for place in range(124, min(len(whole), 300)):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            try:
                read_array(written(tmp_path / "x.mat", bytes(damaged)))
            except DataError as fault:
                assert str(fault).startswith(f"{tmp_path / 'x.mat'}: ")


def test_names_of_arrays_stay_on_one_line(tmp_path: Path) -> None:
    save_file({"a\nb": ROWS, "c": ROWS}, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **{"a\nb": ROWS, "c": ROWS})
    for name in ("x.safetensors", "x.npz"):
        with pytest.raises(DataError, match=r"holds 'a\\nb', c; choose one"):
            read_array(tmp_path / name)


def test_values_of_other_files_are_not_read(tmp_path: Path) -> None:
    written(tmp_path / "secret", b"\1" * 32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (4, 8), "u1", external=[(str(tmp_path / "secret"), 0, 32)])
    with pytest.raises(DataError, match="keeps its values in other files"):
        read_array(tmp_path / "x.h5")


def test_values_that_an_hdf5_file_only_promises_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (10**6, 100), "f8", chunks=(1000, 100))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_array(tmp_path / "x.h5")


def test_a_module_that_was_saved_whole_is_not_unpickled(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2), tmp_path / "module.pt")
    with pytest.raises(DataError) as fault:
        read_array(tmp_path / "module.pt")
    assert str(fault.value) == (
        f"{tmp_path / 'module.pt'}: cannot be read as tensors (it holds more, or is damaged, and nothing else is "
        "unpickled); save a tensor, or a dict of tensors"
    )
