"""The formats of files, by ending, and what every row must do."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import polars
import pytest
import torch
import zstandard
from safetensors.numpy import save_file
from scipy.io import savemat
from typer.testing import CliRunner

from aecompress.cli.main import app
from aecompress.data.base import Part, Request
from aecompress.data.dataset import load
from aecompress.data.sources.formats import file_and_key, read_array
from aecompress.data.sources.refused import LFS
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
    "wrong suffix": (lambda tmp: written(tmp / "rows.rtf", b"\0\1"), "not a file of rows; name a .npy, .npz, .csv, "),
    "no suffix": (lambda tmp: tmp / "digit", "not a file of rows; name a .npy, .npz, .csv, "),
    "Git LFS": (lambda tmp: written(tmp / "rows.npy", LFS + b"v1\noid sha256:0"), "get these by git lfs pull"),
    "tar": (lambda tmp: tarred(tmp / "rows.csv.gz"), "is a tar archive; unpack it"),
    "Excel": (lambda tmp: zipped(tmp / "rows.xlsx", "[Content_Types].xml", b""), "pandas.read_excel("),
    "Excel in disguise": (lambda tmp: zipped(tmp / "rows.csv", "[Content_Types].xml", b""), "pandas.read_excel("),
    "pickle": (lambda tmp: written(tmp / "rows.pkl", b"\x80\x04N."), "pandas.read_pickle("),
    "two in a zip": (lambda tmp: two_zipped(tmp / "rows.csv.zip"), "holds 2 files; unpack it"),
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


def tarred(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("rows.csv"), io.BytesIO())
    return path


def two_zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1,2\n")
        archive.writestr("b.csv", "1,2\n")
    return path


def write_hdf5(path: Path, rows: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["group/rows"] = rows


def write_idx(path: Path, rows: np.ndarray) -> None:
    path.write_bytes(struct.pack(">BBBBII", 0, 0, 13, 2, *rows.shape) + rows.astype(">f4").tobytes())


def write_csv(path: Path, rows: np.ndarray) -> None:
    path.write_bytes(csv_text(rows))


def frame_of(rows: np.ndarray) -> polars.DataFrame:
    return polars.DataFrame({f"c{place}": rows[:, place] for place in range(rows.shape[1])})


def write_torch(path: Path, rows: np.ndarray) -> None:
    torch.save({"rows": torch.tensor(rows)}, path)


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".npy": np.save,
    ".npz": lambda path, rows: np.savez(path, rows=rows),
    ".csv": write_csv,
    ".tsv": lambda path, rows: path.write_bytes(csv_text(rows).replace(b",", b"\t")),
    ".txt": lambda path, rows: np.savetxt(path, rows),
    ".data": write_csv,
    ".parquet": lambda path, rows: frame_of(rows).write_parquet(path, row_group_size=3),
    ".arrow": lambda path, rows: frame_of(rows).write_ipc_stream(path),
    ".feather": lambda path, rows: frame_of(rows).write_ipc(path),
    ".jsonl": lambda path, rows: frame_of(rows).write_ndjson(path),
    ".ndjson": lambda path, rows: frame_of(rows).write_ndjson(path),
    ".json": lambda path, rows: frame_of(rows).write_json(path),
    ".pt": write_torch,
    ".pth": write_torch,
    ".safetensors": lambda path, rows: save_file({"rows": rows}, path),
    ".mat": lambda path, rows: savemat(path, {"rows": rows}),
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
    "-ubyte": write_idx,
    ".dat": lambda path, rows: rows.tofile(path),
    ".raw": lambda path, rows: rows.tofile(path),
    ".bin": lambda path, rows: rows.tofile(path),
}
"""How the test writes each format, by its ending: a new row of FORMATS needs one here."""
RAW = FORMATS[".raw"]
EACH = list({id(form): ending for ending, form in reversed(FORMATS.items())}.values())
"""An ending of each row."""
PRESSES: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def key_of(ending: str, width: int) -> str:
    return f":float32,{width}" if FORMATS[ending] is RAW else ""


def test_every_format_has_a_writer_here() -> None:
    assert WRITERS.keys() == FORMATS.keys()


@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_rows_come_back_through_every_format(tmp_path: Path, ending: str) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    path = tmp_path / f"Rows.v1{ending.upper()}"
    WRITERS[ending](path if ending != ".npy" and ending != ".npz" else tmp_path / f"rows{ending}", rows)
    if not path.exists():
        (tmp_path / f"rows{ending}").rename(path)  # NumPy adds its own ending
    source = path.name + key_of(ending, 4)
    raw = read(Request(source=source, directory=tmp_path))
    assert (raw.name, kind_of(source).name) == ("Rows", "rows")
    read_rows = np.asarray(plain(str(path), raw.train))
    assert np.array_equal(read_rows.astype(np.float32), rows)
    if ending in EACH:
        dataset = load(Request(source=f"{tmp_path}/{source}", split=(1, 0, 0), scaling="none"))
        assert np.array_equal(dataset.train, rows)
        for press, compress in PRESSES.items():
            packed = written(Path(f"{path}{press}"), compress(path.read_bytes()))
            again = read_array(packed, Part(key_of(ending, 4).strip(":")))
            assert np.array_equal(again, read_rows), press
        with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        zipped_rows = read_array(Path(f"{path}.zip"), Part(key_of(ending, 4).strip(":")))
        assert np.array_equal(zipped_rows, read_rows)


@pytest.mark.parametrize("ending", [ending for ending in EACH if FORMATS[ending] is not RAW])
def test_a_damaged_file_of_every_format_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    WRITERS[ending](path, ROWS)
    whole = path.read_bytes()
    other = [b"\xff" + whole[1:]] if ending not in (".mat", ".arrow") else []  # words about it; a mark
    half = [whole[: len(whole) // 2]] if ending != ".csv" else []  # where that is a table too
    for damaged in (b"", *other, b"\xff" * len(whole), *half):
        path.write_bytes(damaged)
        with pytest.raises(DataError) as fault:
            load(Request(source=str(path)))
        lines = str(fault.value).splitlines()
        assert lines[0].startswith(f"{path}: ") and all(line.startswith("this works: ") for line in lines[1:])
        del fault
    gc.collect()  # a file left open warns here


@pytest.mark.parametrize("ending", [ending for ending, form in FORMATS.items() if form.magic and ending in EACH])
def test_a_format_is_known_by_its_first_bytes(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    WRITERS[ending](path, ROWS)
    rows = np.asarray(read_array(path))
    for name in ("rows", "rows.csv"):
        if path.exists():
            path = path.rename(tmp_path / name)
        assert np.array_equal(read_array(path), rows)


@pytest.mark.parametrize("ending", [ending for ending in EACH if FORMATS[ending] is not RAW])
def test_a_format_takes_a_key_or_columns_or_refuses_them(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    WRITERS[ending](path, ROWS)
    key = "group/rows" if FORMATS[ending] is FORMATS[".h5"] else "rows"
    for part, takes in ((Part(key=key), FORMATS[ending].keys), (Part(columns="1"), FORMATS[ending].columns)):
        if takes:
            assert len(read_array(path, part)) == len(ROWS)
        else:
            with pytest.raises(DataError, match="so leave out"):
                read_array(path, part)


def parse_bits(where: str, file: BinaryIO, part: Part) -> np.ndarray:
    """A toy format: rows of 0 and 1, zero bytes between them."""
    try:
        return np.array([[int(bit, 2) for bit in line] for line in file.read().decode().split("\0")], np.uint8)
    except ValueError as fault:
        raise DataError(f"{where}: holds more than 0 and 1 ({fault})") from fault


def test_a_new_format_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "rows.bits", b"\0".join([b"0110", b"1010", b"1111"] * 5))
    arguments = ["data", str(path), "--json"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and "not a file of rows; name a .npy, .npz, .csv" in refused.stderr
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
