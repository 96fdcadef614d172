"""Several files as one: their rows one after the other, or the sentence that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest
from PIL import Image

from aecompress.data.base import Part, Request
from aecompress.data.sources.many import open_source, paths_of
from aecompress.data.sources.registry import read
from aecompress.data.table import Table
from aecompress.errors import DataError
from tests.commands import aecompress
from tests.data.sources.files import ROWS, npy, written


def parts(folder: Path) -> Path:
    for place in range(3):
        npy(folder / f"part{place}.npy", ROWS[place : place + 1])
    return folder


@pytest.mark.parametrize("source", ["{0}", "{0}/*.npy", "{0}/part?.npy"])
def test_a_folder_or_a_pattern_is_its_files_by_name(tmp_path: Path, source: str) -> None:
    folder = parts(tmp_path)
    written(folder / ".hidden.npy", b"")
    raw = read(Request(source=source.format(folder)))
    assert np.array_equal(raw.train, ROWS[:3])
    assert raw.files == tuple((f"{folder}/part{place}.npy", 1) for place in range(3))
    assert raw.name == folder.name


def test_several_sources_are_read_in_their_order(tmp_path: Path) -> None:
    parts(tmp_path)
    raw = read(Request(source="part2.npy", more=("part0.npy",), directory=tmp_path))
    assert np.array_equal(raw.train, ROWS[[2, 0]]) and raw.name == "part2"
    with pytest.raises(DataError, match="^digits: is no file, and cannot be read with others"):
        read(Request(source="part2.npy", more=("digits",), directory=tmp_path))


def test_the_command_line_and_a_spec_take_several_files(tmp_path: Path) -> None:
    files = [str(npy(tmp_path / f"part{place}.npy", ROWS + place)) for place in range(3)]
    described = json.loads(aecompress("data", *files, "--json").stdout)
    assert described["train_rows"] + described["validation_rows"] + described["test_rows"] == 3 * len(ROWS)
    spec = written(tmp_path / "s.toml", f"[data]\nsource = {json.dumps(files)}\n".encode())
    again = json.loads(aecompress("data", "--spec", str(spec), "--json").stdout)
    assert again["fingerprint"] == described["fingerprint"]


def test_files_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    npy(tmp_path / "a.npy", ROWS)
    npy(tmp_path / "b.npy", ROWS[:, :2])
    npy(tmp_path / "c.npy", ROWS.astype(np.float64))
    for other in ("b", "c"):
        with pytest.raises(DataError, match=rf"{other}\.npy: its rows have shape .* they must agree"):
            read(Request(source="a.npy", more=(f"{other}.npy",), directory=tmp_path))
    written(tmp_path / "d.csv", b"1,2\n")
    with pytest.raises(DataError, match=r"holds files of several formats .*; name those to read"):
        read(Request(source=str(tmp_path)))
    with pytest.raises(DataError, match="matches no files; check the pattern"):
        read(Request(source=f"{tmp_path}/*.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without files of rows"):
        read(Request(source=str(tmp_path / "empty")))


def test_tables_agree_by_the_names_of_their_columns(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", b"x,kind\n1,fan\n2,pump\n")
    written(tmp_path / "b.csv", b"kind,x\nvalve,3\npump,\n")
    rows = open_source(f"{tmp_path}/*.csv", Part())
    assert isinstance(rows, Table)
    assert rows.names == ("x", "kind") and rows.columns[1].texts == ("fan", "pump", "valve")
    assert np.array_equal(rows.cells, [[1, 0], [2, 1], [3, 2], [np.nan, 1]], equal_nan=True)
    assert rows.columns[0].example == "b.csv: line 3 is empty"
    written(tmp_path / "c.csv", b"x,y\n1,2\n")
    with pytest.raises(DataError, match=r"c\.csv: has the columns x, y, .*a\.csv x, kind; they must agree"):
        open_source(f"{tmp_path}/*.csv", Part())


def test_a_folder_of_hugging_face_is_read_without_its_library(tmp_path: Path) -> None:
    train = tmp_path / "train"
    train.mkdir()
    for place in range(2):
        polars.DataFrame({"a": [place + 0.5], "v": [[1.0, 2.0]]}).write_ipc_stream(train / f"data-{place}.arrow")
    written(train / "dataset_info.json", b"{}")
    written(tmp_path / "dataset_dict.json", b'{"splits": ["train"]}')
    rows = open_source(str(tmp_path), Part())
    assert isinstance(rows, Table)
    assert rows.names == ("a", "v.0", "v.1")
    assert rows.cells.tolist() == [[0.5, 1, 2], [1.5, 1, 2]]
    listed = {"_data_files": [{"filename": f"data-{place}.arrow"} for place in (1, 0)]}
    written(train / "state.json", json.dumps(listed).encode())
    rows = open_source(f"{tmp_path}:train", Part())
    assert isinstance(rows, Table) and rows.cells[:, 0].tolist() == [1.5, 0.5]


def test_a_folder_of_images_is_rows_of_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    rows = read(Request(source=str(tmp_path))).train
    assert rows.dtype == np.uint8 and np.array_equal(rows, pixels)
    Image.fromarray(np.stack([pixels[0]] * 3, -1)).save(tmp_path / "3.bmp")
    assert np.array_equal(read(Request(source=str(tmp_path))).train[:3], np.stack([pixels] * 3, -1))
    Image.fromarray(pixels[0].T).save(tmp_path / "4.png")
    with pytest.raises(DataError, match=r"4\.png: has 4 x 5 pixels, 0\.png 5 x 4; give images of one size"):
        read(Request(source=str(tmp_path)))
    written(tmp_path / "4.png", b"\x89PNG")
    with pytest.raises(DataError, match=r"4\.png: cannot be read as an image .*; remove or replace it"):
        read(Request(source=str(tmp_path)))


def test_what_a_run_reads_is_each_file_and_the_folder(tmp_path: Path) -> None:
    parts(tmp_path)
    files = [tmp_path / f"part{place}.npy" for place in range(3)]
    assert paths_of(f"{tmp_path}/*.npy") == files
    assert paths_of(str(tmp_path)) == [tmp_path, *files]
    assert paths_of("digits") == [Path("digits")]
    refused = aecompress("prune", f"{tmp_path}/*.npy", "-o", str(tmp_path), "--force")
    assert refused.returncode == 2 and all(file.exists() for file in files)
