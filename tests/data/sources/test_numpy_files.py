"""NumPy files: arrays as they lie in the file, damage refused."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from aecompress.data.base import Part
from aecompress.data.file_rows import FileRows
from aecompress.data.sources import limits, packed
from aecompress.data.sources.formats import open_array, read_array, read_rows_of
from aecompress.data.table import Table
from aecompress.errors import DataError
from tests.data.sources.files import ROWS, npy, npz, written


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16", "float32", "float64", ">f4"])
def test_an_npy_file_gives_its_array_as_it_is(tmp_path: Path, dtype: str) -> None:
    array = read_array(npy(tmp_path / "rows.npy", ROWS.astype(dtype)))
    assert array.dtype == np.dtype(dtype)
    assert np.array_equal(array, ROWS.astype(dtype))


def test_a_fortran_ordered_array_keeps_its_rows(tmp_path: Path) -> None:
    assert np.array_equal(read_array(npy(tmp_path / "rows.npy", np.asfortranarray(ROWS))), ROWS)


def test_long_doubles_are_read_as_float64(tmp_path: Path) -> None:
    array = read_array(npy(tmp_path / "rows.npy", ROWS.astype(np.longdouble)))
    assert array.dtype == np.float64 and np.array_equal(array, ROWS)


def test_what_is_not_numbers_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(npy_bytes("{'descr': '<U999999', 'fortran_order': False, 'shape': (1000000, 1), }"))
        file.truncate(4 * 999999 * 1000000 + 1000)
    with pytest.raises(DataError, match=r"a\.npy: holds values of type <U999999, not numbers"):
        read_array(tmp_path / "a.npy")


def test_an_npz_file_with_one_array_needs_no_key(tmp_path: Path) -> None:
    assert np.array_equal(read_array(npz(tmp_path / "rows.npz", images=ROWS)), ROWS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_key_chooses_the_array_of_an_npz_file(tmp_path: Path, save: Callable) -> None:
    path = tmp_path / "rows.npz"
    save(path, first=ROWS, second=ROWS + 1)
    assert np.array_equal(read_array(path, Part("first")), ROWS)
    assert np.array_equal(read_array(path, Part("second")), ROWS + 1)


def test_an_unknown_key_lists_the_keys_there_are(tmp_path: Path) -> None:
    path = npz(tmp_path / "rows.npz", first=ROWS, second=ROWS)
    with pytest.raises(DataError, match=r"rows\.npz: has no array 'third'; it holds first, second"):
        read_array(path, Part("third"))


def test_damage_anywhere_in_a_file_is_a_data_error_or_harmless(tmp_path: Path) -> None:
    refused = 0
    random = np.random.default_rng(0)
    for name, save in (("rows.npy", np.save), ("rows.npz", np.savez_compressed)):
        whole = io.BytesIO()
        save(whole, random.integers(0, 9, (40, 20)))
        for place in random.integers(0, len(whole.getvalue()), 150):
            damaged = bytearray(whole.getvalue())
            damaged[place] ^= 0xFF
            try:
                assert isinstance(read_array(written(tmp_path / name, bytes(damaged))), np.ndarray)
            except DataError:
                refused += 1
    assert refused > 50


def npy_bytes(header: str, data: bytes = b"") -> bytes:
    """An .npy file with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 8), }", b"\0" * 64),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 8), }", b"\0" * 64),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000, 8), }", b"\0" * 64),
        npy_bytes("{'descr': '|O', 'fortran_order': False, 'shape': (1, 8), }", b"\0" * 64),
        npy_bytes("__import__('os').system('true')"),
        npy_bytes("{" * 5000),
        b"\x93NUMPY\x02\x00" + (0x7FFFFFFF).to_bytes(4, "little") + b"{",
    ],
)
def test_hostile_npy_headers_are_refused_at_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as a NumPy array"):
        read_array(tmp_path / "a.npy")
    assert time.perf_counter() - began < 5


def test_an_npz_that_unpacks_to_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", rows=np.random.default_rng(0).random((400, 400)))
    monkeypatch.setattr(limits, "memory_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"a\.npz: would need .*; give fewer rows"):
        read_array(tmp_path / "a.npz", Part("rows"))


def test_an_npz_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "ALWAYS", 1 << 16)
    np.savez_compressed(tmp_path / "a.npz", rows=np.zeros((1000, 1000)))
    with pytest.raises(DataError, match=r"a\.npz: unpacks to more than 200 times its size"):
        read_array(tmp_path / "a.npz")


def test_an_npy_that_the_memory_does_not_hold_is_refused_by_its_header(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1), }"))
        file.truncate(1099511627776 + 1000)
    with pytest.raises(DataError, match=r"a\.npy: would need .*; give fewer rows"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["float32", ">f8", "uint8", "bool", "float16"])
def test_plain_rows_stay_in_their_file_until_they_are_read(tmp_path: Path, dtype: str) -> None:
    rows = open_array(npy(tmp_path / "rows.npy", ROWS.astype(dtype)))
    assert isinstance(rows, FileRows) and rows.dtype == np.dtype(dtype)
    assert np.array_equal(np.asarray(rows), ROWS.astype(dtype))


def test_other_arrays_are_read_at_once(tmp_path: Path) -> None:
    for rows in (np.asfortranarray(ROWS), ROWS.astype(np.longdouble), ROWS[:, 0], ROWS[:0]):
        assert isinstance(open_array(npy(tmp_path / "rows.npy", rows)), np.ndarray)
    npy(tmp_path / "short.npy", ROWS)
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"short\.npy: cannot be read as a NumPy array"):
        open_array(tmp_path / "short.npy")


def test_several_arrays_in_one_file_are_their_rows_one_after_the_other(tmp_path: Path) -> None:
    first, second = npy(tmp_path / "a.npy").read_bytes(), npy(tmp_path / "b.npy", ROWS + 1).read_bytes()
    path = written(tmp_path / "both.npy", first + second)
    assert np.array_equal(read_array(path), np.concatenate([ROWS, ROWS + 1]))
    other = npy(tmp_path / "c.npy", ROWS[:, :2]).read_bytes()
    with pytest.raises(DataError, match=r"holds 2 arrays; rows of number 2 have shape \(2,\) .* give one array"):
        read_array(written(path, first + other))
    with pytest.raises(DataError, match="more bytes follow its array"):
        read_array(written(path, first + b"1,2"))


def test_an_array_of_structures_is_a_table(tmp_path: Path) -> None:
    rows = np.zeros(3, [("x", "f4"), ("on", "?"), ("kind", "U4"), ("day", "M8[D]")])
    rows["x"], rows["on"], rows["kind"] = [1, 2, 3], [True, False, True], ["fan", "pump", "fan"]
    rows["day"] = np.array(["1970-01-02", "NaT", "1970-01-03"], "M8[D]")
    table = read_rows_of(npy(tmp_path / "rows.npy", rows))
    assert isinstance(table, Table)
    assert [(column.name, column.holds) for column in table.columns] == [
        ("x", "number"),
        ("on", "boolean"),
        ("kind", "text"),
        ("day", "date"),
    ]
    expected = [[1, 1, 0, 86400], [2, 0, 1, np.nan], [3, 1, 0, 172800]]
    assert np.array_equal(table.cells, expected, equal_nan=True)
    with pytest.raises(DataError, match="field 'x' has several values in a row"):
        read_rows_of(npy(tmp_path / "rows.npy", np.zeros(3, [("x", "f4", (2,))])))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_matrix_of_scipy_is_dense_rows(tmp_path: Path, form: str) -> None:
    matrix = scipy.sparse.random(8, 6, 0.3, format=form, random_state=0)
    scipy.sparse.save_npz(tmp_path / "rows.npz", matrix)
    assert np.array_equal(read_array(tmp_path / "rows.npz"), matrix.toarray())


def test_a_sparse_matrix_whose_places_lie_outside_it_is_refused(tmp_path: Path) -> None:
    matrix = scipy.sparse.random(8, 6, 0.3, format="csr", random_state=0)
    for name in ("indices", "indptr"):
        parts = {"indices": matrix.indices.copy(), "indptr": matrix.indptr.copy()}
        parts[name][-1] = 10**6
        path = tmp_path / "rows.npz"
        np.savez(path, format=b"csr", shape=matrix.shape, data=matrix.data, **parts)
        with pytest.raises(DataError, match="cannot be read as a NumPy array"):
            read_array(path)
    np.savez(path, format=b"csr", shape=(2**40, 2**20), data=matrix.data, **parts)
    with pytest.raises(DataError, match="would need .* GiB"):
        read_array(path)
