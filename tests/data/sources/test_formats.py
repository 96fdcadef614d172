"""The formats of files, by ending, and what every row must do."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from typer.testing import CliRunner

from aecompress.cli.main import app
from aecompress.data.base import Part, Request
from aecompress.data.dataset import load
from aecompress.data.sources.formats import file_and_key, read_array
from aecompress.data.sources.registry import kind_of, read
from aecompress.data.table import plain
from aecompress.errors import DataError
from aecompress.registry import FORMATS, FormatRow
from tests.data.sources.files import ROWS, folder, npy, npz, truncated, written, zipped


def test_a_source_may_end_in_its_key(tmp_path: Path) -> None:
    path = npz(tmp_path / "rows.npz", first=ROWS, second=ROWS + 1)
    assert read(Request(source=f"{path}:second")).name == "rows"
    assert np.array_equal(read(Request(source=f"{path}:second")).train, ROWS + 1)
    assert np.array_equal(read(Request(source=str(path), key="second")).train, ROWS + 1)
    assert np.array_equal(read(Request(source=f"{path}:second", key="first")).train, ROWS + 1)


def test_rows_from_a_file_bring_no_splits_and_are_named_after_it(tmp_path: Path) -> None:
    raw = read(Request(source=str(npy(tmp_path / "faces.npy"))))
    assert (raw.name, raw.validation, raw.test, raw.notes) == ("faces", None, None, {})


@pytest.mark.parametrize(
    ("source", "path", "key"),
    [("a.npz", "a.npz", ""), ("a.npz:k", "a.npz", "k"), ("d/a.npz:k", "d/a.npz", "k"), ("a:b.npz:k", "a:b.npz", "k")],
)
def test_the_last_colon_divides_file_and_key(source: str, path: str, key: str) -> None:
    assert file_and_key(source) == (Path(path), key)


def test_a_colon_inside_an_existing_path_belongs_to_the_path(tmp_path: Path) -> None:
    path = npy(tmp_path / "run:3.npy")
    assert file_and_key(str(path)) == (path, "")
    assert np.array_equal(read(Request(source=str(path))).train, ROWS)


def test_a_file_may_be_called_like_a_built_in_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    npy(tmp_path / "binary-clusters.npy")
    assert np.array_equal(read(Request(source="binary-clusters.npy")).train, ROWS)


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing npy": (lambda tmp: tmp / "no.npy", "no such file; check the path"),
    "missing npz": (lambda tmp: tmp / "no.npz", "no such file; check the path"),
    "missing csv": (lambda tmp: tmp / "no.csv.gz", "no such file; check the path"),
    "a folder": (lambda tmp: folder(tmp / "rows.npy"), "no such file; check the path"),
    "wrong suffix": (lambda tmp: written(tmp / "rows.txt", b"1,2"), "not a file of rows; name a .npy, .npz, .csv or"),
    "no suffix": (lambda tmp: tmp / "digit", "not a file of rows; name a .npy, .npz, .csv or"),
    "empty npy": (lambda tmp: written(tmp / "rows.npy", b""), "cannot be read as a NumPy array"),
    "truncated npy": (lambda tmp: truncated(tmp / "rows.npy", npy(tmp / "whole.npy")), "write the file again"),
    "truncated npz": (lambda tmp: truncated(tmp / "rows.npz", npz(tmp / "whole.npz", a=ROWS)), "write the file again"),
    "objects in npy": (
        lambda tmp: npy(tmp / "rows.npy", np.array([[{}, {}]], dtype=object)),
        "save plain numbers instead",
    ),
    "objects in npz": (
        lambda tmp: npz(tmp / "rows.npz", a=np.array([[{}, {}]], dtype=object)),
        "save plain numbers instead",
    ),
    "a pickle": (lambda tmp: written(tmp / "rows.npy", b"\x80\x04N."), "cannot be read as a NumPy array"),
    "several arrays": (
        lambda tmp: npz(tmp / "rows.npz", first=ROWS, second=ROWS),
        "holds first, second; choose one, as in ",
    ),
    "no arrays": (lambda tmp: npz(tmp / "rows.npz"), "holds no arrays"),
    "text in npz": (lambda tmp: zipped(tmp / "rows.npz", "rows.csv", b"1,2\n"), "is not an array"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_read_is_named_with_the_cure(tmp_path: Path, case: str) -> None:
    make, message = BROKEN[case]
    path = make(tmp_path)
    with pytest.raises(DataError) as fault:
        read_array(path)
    text = str(fault.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text
    del fault
    gc.collect()  # a file left open warns here, in the test that left it


@pytest.mark.parametrize("name", ["rows.npy", "rows.csv"])
def test_a_key_for_a_file_with_one_array_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="holds one array, so leave out the key 'first'"):
        read_array(written(tmp_path / name, b""), Part("first"))


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_columns_for_a_file_without_columns_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"has no named columns, so leave out data\.columns \(--columns\) = 'a'"):
        read_array(written(tmp_path / name, b""), Part(columns="a"))


# ---------------------------------------------------------------- every row of FORMATS


def csv_text(rows: np.ndarray) -> bytes:
    return "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".npy": np.save,
    ".npz": lambda path, rows: np.savez(path, rows=rows),
    ".csv": lambda path, rows: path.write_bytes(csv_text(rows)),
    ".csv.gz": lambda path, rows: path.write_bytes(gzip.compress(csv_text(rows))),
}
"""How the test writes each format, by its ending: a new row of FORMATS needs one here."""


def test_every_format_has_a_writer_here() -> None:
    assert WRITERS.keys() == FORMATS.keys()


@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_rows_come_back_through_every_format(tmp_path: Path, ending: str) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    path = tmp_path / f"rows.v1{ending}"
    WRITERS[ending](path, rows)
    assert np.array_equal(read_array(path).astype(np.float32), rows)
    raw = read(Request(source=path.name, directory=tmp_path))
    assert (raw.name, kind_of(path.name).name) == ("rows", "rows")
    assert np.array_equal(plain(str(path), raw.train), read_array(path))
    dataset = load(Request(source=str(path), split=(1, 0, 0), scaling="none"))
    assert np.array_equal(dataset.train, rows)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_damaged_file_of_every_format_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    WRITERS[ending](path, ROWS)
    whole = path.read_bytes()
    for damaged in (b"", b"\xff" + whole[1:], b"\xff" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(DataError) as fault:
            load(Request(source=str(path)))
        lines = str(fault.value).splitlines()
        assert lines[0].startswith(f"{path}: ") and all(line.startswith("this works: ") for line in lines[1:])
        del fault
        gc.collect()  # a file left open warns here


@pytest.mark.parametrize("ending", FORMATS)
def test_a_format_takes_a_key_or_columns_or_refuses_them(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    WRITERS[ending](path, ROWS)
    for part, takes in ((Part(key="rows"), FORMATS[ending].keys), (Part(columns="1"), FORMATS[ending].columns)):
        if takes:
            assert len(read_array(path, part)) == len(ROWS)
        else:
            with pytest.raises(DataError, match="so leave out"):
                read_array(path, part)


def parse_bits(where: str, file: BinaryIO, part: Part) -> np.ndarray:
    """A toy format: lines of 0 and 1."""
    try:
        return np.array([[int(bit, 2) for bit in line] for line in file.read().decode().split()], np.uint8)
    except ValueError as fault:
        raise DataError(f"{where}: holds more than 0 and 1 ({fault})") from fault


def test_a_new_format_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "rows.bits", b"0110\n1010\n1111\n" * 5)
    arguments = ["data", str(path), "--json"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and "not a data source; name a .npy, .npz, .csv or .csv.gz file" in refused.stderr
    monkeypatch.setitem(FORMATS, ".bits", FormatRow(parse="tests.data.sources.test_formats:parse_bits"))
    described = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert (described["name"], described["inputs"], described["values"]) == ("rows", 4, "0/1")
    assert load(Request(source=str(path), split=(1, 0, 0))).train[:3].tolist() == [
        [0, 1, 1, 0],
        [1, 0, 1, 0],
        [1, 1, 1, 1],
    ]
    path.write_bytes(b"0120\n")
    damaged = CliRunner().invoke(app, arguments)
    assert damaged.exit_code == 2 and "rows.bits: holds more than 0 and 1" in damaged.stderr
