"""Readers: rows as they lie in the file, or one error that says what is wrong and what to do."""

from __future__ import annotations

import gc
import gzip
import io
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aecompress.data import sources
from aecompress.data.sources import FLIP_RATE, binary_clusters, digits, file_and_key, read, read_array
from aecompress.errors import DataError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def npy(path: Path, array: np.ndarray = ROWS) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16", "float32", "float64", ">f4"])
def test_an_npy_file_gives_its_array_as_it_is(tmp_path: Path, dtype: str) -> None:
    array = read_array(npy(tmp_path / "rows.npy", ROWS.astype(dtype)))
    assert array.dtype == np.dtype(dtype)
    assert np.array_equal(array, ROWS.astype(dtype))


def test_a_fortran_ordered_array_keeps_its_rows(tmp_path: Path) -> None:
    assert np.array_equal(read_array(npy(tmp_path / "rows.npy", np.asfortranarray(ROWS))), ROWS)


def test_an_npz_file_with_one_array_needs_no_key(tmp_path: Path) -> None:
    assert np.array_equal(read_array(npz(tmp_path / "rows.npz", images=ROWS)), ROWS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_key_chooses_the_array_of_an_npz_file(tmp_path: Path, save: Callable) -> None:
    path = tmp_path / "rows.npz"
    save(path, first=ROWS, second=ROWS + 1)
    assert np.array_equal(read_array(path, "first"), ROWS)
    assert np.array_equal(read_array(path, "second"), ROWS + 1)


def test_a_source_may_end_in_its_key(tmp_path: Path) -> None:
    path = npz(tmp_path / "rows.npz", first=ROWS, second=ROWS + 1)
    assert read(f"{path}:second").name == "rows"
    assert np.array_equal(read(f"{path}:second").train, ROWS + 1)
    assert np.array_equal(read(str(path), key="second").train, ROWS + 1)
    assert np.array_equal(read(f"{path}:second", key="first").train, ROWS + 1)


def test_rows_from_a_file_bring_no_splits_and_are_named_after_it(tmp_path: Path) -> None:
    raw = read(str(npy(tmp_path / "faces.npy")))
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
    assert np.array_equal(read(str(path)).train, ROWS)


def test_a_file_may_be_called_like_a_built_in_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    npy(tmp_path / "binary-clusters.npy")
    assert np.array_equal(read("binary-clusters.npy").train, ROWS)


def truncated(path: Path, whole: Path) -> Path:
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) - 10])
    return path


def zipped(path: Path, member: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing npy": (lambda tmp: tmp / "no.npy", "no such file; check the path"),
    "missing npz": (lambda tmp: tmp / "no.npz", "no such file; check the path"),
    "missing csv": (lambda tmp: tmp / "no.csv.gz", "no such file; check the path"),
    "a folder": (lambda tmp: folder(tmp / "rows.npy"), "no such file; check the path"),
    "wrong suffix": (lambda tmp: written(tmp / "rows.txt", b"1,2"), "not a data source; name a .npy, .npz, .csv or"),
    "no suffix": (lambda tmp: tmp / "digit", "not a data source; name a .npy, .npz, .csv or"),
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


def test_an_unknown_key_lists_the_keys_there_are(tmp_path: Path) -> None:
    path = npz(tmp_path / "rows.npz", first=ROWS, second=ROWS)
    with pytest.raises(DataError, match=r"rows\.npz: has no array 'third'; it holds first, second"):
        read_array(path, "third")


@pytest.mark.parametrize("name", ["rows.npy", "rows.csv"])
def test_a_key_for_a_file_with_one_array_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="holds one array, so leave out the key 'first'"):
        read_array(written(tmp_path / name, b""), "first")


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_columns_for_a_file_without_columns_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"has no named columns, so leave out data\.columns \(--columns\) = 'a'"):
        read_array(written(tmp_path / name, b""), columns="a")


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


# ---------------------------------------------------------------- CSV


def read_csv(tmp_path: Path, text: str, columns: str = "") -> list[list[float]]:
    rows = read_array(written(tmp_path / "rows.csv", text.encode()), columns=columns)
    assert rows.dtype == np.float64
    assert rows.ndim == 2
    return rows.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,-4.5e1\n",
        "1,2\r\n3,-4.5e1",
        "\ufeff1,2\n3,-45\n",
        "\n1,2\n\n  \n3,-45\n\n",
        " 1 ,2\n3, -45 \n",
        '"1","2"\n"3","-45"\n',
        "a,b\n1,2\n3,-45\n",
        ",0\n1,2\n3,-45\n",
        '"a, first",b\n1,2\n3,-45\n',
    ],
    ids=["plain", "crlf", "byte order mark", "blank lines", "spaces", "quotes", "header", "index", "quoted header"],
)
def test_a_csv_file_gives_its_numbers(tmp_path: Path, text: str) -> None:
    assert read_csv(tmp_path, text) == [[1, 2], [3, -45]]


def test_one_column_and_one_line_are_tables_too(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "1\n2\n3\n") == [[1], [2], [3]]
    assert read_csv(tmp_path, "1,2,3\n") == [[1, 2, 3]]


def test_numbers_in_csv_are_read_to_the_last_bit(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)) * 10.0 ** np.arange(-150, 151, 150)
    text = "\n".join(",".join(map(repr, row)) for row in rows.tolist())
    assert read_csv(tmp_path, text) == rows.tolist()


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.csv"])
def test_a_csv_file_may_be_compressed(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, gzip.compress(b"a,b\n1,2\n3,4\n"))
    assert read_array(path).tolist() == [[1, 2], [3, 4]]
    assert read(str(path)).name == "rows"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [("b", [[2], [6]]), ("d, a", [[4, 1], [8, 5]]), ("1-2", [[2, 3], [6, 7]]), ("d,0,1-1", [[4, 1, 2], [8, 5, 6]])],
)
def test_columns_are_chosen_by_name_number_and_range(tmp_path: Path, columns: str, expected: list) -> None:
    assert read_csv(tmp_path, "a,b,c,d\n1,2,3,4\n5,6,7,8\n", columns) == expected


def test_a_column_with_text_does_no_harm_unless_it_is_chosen(tmp_path: Path) -> None:
    text = "name,a,b\nx,1,2\ny,3,4\n"
    assert read_csv(tmp_path, text, "a,b") == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="line 2, column 0 is 'x', not a number; choose numeric columns with --columns"):
        read_csv(tmp_path, text)


def test_a_header_of_numbers_names_columns_where_one_name_is_no_number(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "id,2,1\n7,8,9\n", "2") == [[8]]


@pytest.mark.parametrize("columns", ["e", "4", "2-1", "0-4", "a,", "-1", "a-b"])
def test_a_column_that_is_not_there_lists_those_that_are(tmp_path: Path, columns: str) -> None:
    with pytest.raises(DataError, match=r"rows\.csv: has no column .* \(data\.columns, --columns\); it has a, b, c, d"):
        read_csv(tmp_path, "a,b,c,d\n1,2,3,4\n", columns)
    with pytest.raises(DataError, match=r"it has columns 0 to 3"):
        read_csv(tmp_path, "1,2,3,4\n", columns)


BAD_CSV = {
    "empty": ("", "has no rows; give at least two"),
    "blank": ("\n \n", "has no rows; give at least two"),
    "header only": ("a,b\n", "has a header and no rows; give at least two"),
    "short line": ("1,2\n\n3\n", "line 3 has 1 cells, the first line 2; give every line as many"),
    "long line": ("1,2\n3,4,5\n", "line 2 has 3 cells, the first line 2; give every line as many"),
    "gap": ("1,2\n3,\n", "line 2, column 1 is empty, not a number; choose numeric columns with --columns"),
    "text": ("a,b\n1,2\n3,x\n", "line 3, column 1 is 'x', not a number; choose numeric columns with --columns"),
    "comment": ("1,2\n#3,4\n", "line 2, column 0 is '#3', not a number"),
    "semicolons": ("1;2\n3;4\n", "line 2, column 0 is '3;4', not a number"),
    "complex": ("1,2\n3,4j\n", "line 2, column 1 is '4j', not a number"),
    "long cell": ("1,2\n" + "x" * 200_000, ""),
    "long first cell": ("x" * 200_000, ""),
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_csv_file_is_named_with_the_place_and_the_cure(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as fault:
        read_csv(tmp_path, text)
    assert str(fault.value).startswith(f"{tmp_path / 'rows.csv'}: ")
    assert message in str(fault.value)
    assert len(str(fault.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(("text", "columns"), [("a,b\n1,2\n3\n", "a"), ("a,b\n1,2,3\n4,5,6\n", "a"), ("a\n1,2\n", "")])
def test_lines_of_another_width_than_the_first_are_refused_in_any_case(tmp_path: Path, text: str, columns: str) -> None:
    with pytest.raises(DataError, match="cells, the first line"):
        read_csv(tmp_path, text, columns)


def test_a_csv_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.csv: is not text \(byte 3\); give CSV in UTF-8"):
        read_array(written(tmp_path / "rows.csv", b"1,2\xff\n"))


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"1,2\n" * 100)
    for data in (whole[:-3], whole[:12], whole[:20] + b"\xff\xff" + whole[22:], b"\x1f\x8bgarbage"):
        with pytest.raises(DataError, match=r"rows\.csv\.gz: is damaged gzip .*; compress it again"):
            read_array(written(tmp_path / "rows.csv.gz", data))


# ---------------------------------------------------------------- standard input


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes, columns: str = "") -> np.ndarray:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    raw = read("-", columns=columns)
    assert (raw.name, raw.validation, raw.test) == ("stdin", None, None)
    return raw.train


@pytest.mark.parametrize("press", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_may_be_npy_or_csv(monkeypatch: pytest.MonkeyPatch, press: Callable) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ROWS)
    assert np.array_equal(piped(monkeypatch, press(buffer.getvalue())), ROWS)
    assert piped(monkeypatch, press(b"a,b\n1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]
    assert piped(monkeypatch, press(b"a,b\n1,2\n3,4\n"), "b").tolist() == [[2], [4]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "-: standard input is empty; pipe .npy or CSV rows into aecompress"),
        (gzip.compress(b"", mtime=0), "-: standard input is empty"),
        (b"\x93NUMPY\x01", "-: cannot be read as a NumPy array"),
        (b"PK\x03\x04\xff", "-: is not text"),
        (b"\x1f\x8b", "-: is damaged gzip"),
        (b"1,2\n3,x\n", "-: line 2, column 1 is 'x', not a number"),
    ],
)
def test_standard_input_that_is_no_data_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as fault:
        piped(monkeypatch, data)
    assert str(fault.value).startswith(message)


# ---------------------------------------------------------------- built-in sets


def test_digits_are_the_1797_images_of_scikit_learn_in_0_to_1() -> None:
    images = digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    assert np.array_equal(images * 16, np.round(images * 16))
    assert float(images.mean(dtype=float)) == pytest.approx(0.305260, abs=1e-6)
    raw = read("digits")
    assert raw.name == "digits"
    assert np.array_equal(raw.train, images)


@pytest.mark.parametrize(
    "name",
    ["", "10x100", "10x100x1000x2", "0x100x1000", "10x0x10", "10x10x0", "-1x2x3", "axbxc", "10 x 10 x 10", "1.5x2x3"],
)
def test_a_badly_written_cluster_set_says_how_to_write_it(name: str) -> None:
    with pytest.raises(DataError, match="write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example"):
        read(f"binary-clusters:{name}")


def test_the_bare_name_of_the_cluster_sets_says_how_to_write_them() -> None:
    with pytest.raises(DataError, match="write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example"):
        read("binary-clusters")


CLUSTERS, PER_CLUSTER, INPUTS = 20, 25, 400


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    raw = binary_clusters("set", CLUSTERS, PER_CLUSTER, INPUTS, 0)
    return {"train": raw.train, "validation": raw.validation, "test": raw.test}


@pytest.fixture(scope="module")
def clean(parts: dict[str, np.ndarray]) -> np.ndarray:
    """The rows before bits were flipped, by majority over all rows of a cluster."""
    by_cluster = [rows.reshape(CLUSTERS, PER_CLUSTER, INPUTS) for rows in parts.values()]
    return np.repeat(np.concatenate(by_cluster, axis=1).mean(1) > 0.5, PER_CLUSTER, axis=0)


def test_clusters_are_three_sets_of_zeros_and_ones(parts: dict[str, np.ndarray]) -> None:
    for rows in parts.values():
        assert rows.shape == (CLUSTERS * PER_CLUSTER, INPUTS)
        assert rows.dtype == np.uint8
        assert set(np.unique(rows)) == {0, 1}


def test_three_quarters_of_the_centroid_bits_are_1(clean: np.ndarray) -> None:
    assert clean.mean() == pytest.approx(0.75, abs=0.02)


def test_one_bit_in_twenty_is_flipped_and_the_notes_say_how_many(
    parts: dict[str, np.ndarray], clean: np.ndarray
) -> None:
    notes = binary_clusters("set", CLUSTERS, PER_CLUSTER, INPUTS, 0).notes
    assert list(notes) == ["train_flip_rate", "validation_flip_rate", "test_flip_rate"]
    for name, rows in parts.items():
        measured = (rows != clean).mean()
        assert measured == pytest.approx(notes[f"{name}_flip_rate"], abs=1e-12)
        assert measured == pytest.approx(FLIP_RATE, abs=0.003)
    assert FLIP_RATE == 0.05


def test_the_three_sets_are_flipped_independently(parts: dict[str, np.ndarray], clean: np.ndarray) -> None:
    train, validation, test = ((rows != clean) for rows in parts.values())
    for both in (train & validation, train & test, validation & test):
        assert both.mean() == pytest.approx(FLIP_RATE**2, abs=0.0007)


def test_predicting_each_inputs_majority_scores_what_the_paper_says() -> None:
    train = binary_clusters("set", 10, 20, 1000, 0).train
    majority = train.mean(0) > 0.5
    assert (train != majority).mean() == pytest.approx(0.270, abs=0.02)


def test_the_seed_of_a_cluster_set_is_its_instance() -> None:
    first, again, other = (read("binary-clusters:4x5x60", seed=seed) for seed in (1, 1, 2))
    assert first.name == "binary-clusters:4x5x60"
    assert first.notes == again.notes != other.notes
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
        assert (getattr(first, part) != getattr(other, part)).mean() > 0.2


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
    np.savez_compressed(tmp_path / "a.npz", rows=np.zeros((1000, 1000)))
    monkeypatch.setattr(sources, "memory_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"a\.npz: would need .*; give fewer rows"):
        read_array(tmp_path / "a.npz", "rows")
