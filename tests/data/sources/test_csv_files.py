"""CSV files: numbers as they are written, or the line and cell that is wrong."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from aecompress.data.base import Part, Request
from aecompress.data.sources import csv_files, limits, packed, text, wide
from aecompress.data.sources.formats import read_array
from aecompress.data.sources.registry import read
from aecompress.errors import DataError
from tests.data.sources.files import written


def read_csv(tmp_path: Path, content: str, columns: str = "") -> list[list[float]]:
    rows = read_array(written(tmp_path / "rows.csv", content.encode()), Part(columns=columns))
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
    assert read(Request(source=str(path))).name == "rows"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [("b", [[2], [6]]), ("d, a", [[4, 1], [8, 5]]), ("1-2", [[2, 3], [6, 7]]), ("d,0,1-1", [[4, 1, 2], [8, 5, 6]])],
)
def test_columns_are_chosen_by_name_number_and_range(tmp_path: Path, columns: str, expected: list) -> None:
    assert read_csv(tmp_path, "a,b,c,d\n1,2,3,4\n5,6,7,8\n", columns) == expected


@pytest.mark.parametrize(
    ("text", "columns", "header", "names"),
    [
        ("a, b ,c\n1,2,3\n", "", "auto", ("a", "b", "c")),
        ("a,b,c\n1,2,3\n", "c,0", "auto", ("c", "a")),
        ("1,2,3\n4,5,6\n", "", "auto", ()),
        ("1,2,3\n4,5,6\n", "", "yes", ("1", "2", "3")),
        ('"x,\x1b[2J",a,a\n1,2,3\n', "0-1", "auto", ("x,\x1b[2J", "a")),
    ],
)
def test_columns_keep_the_names_of_the_header(
    tmp_path: Path, text: str, columns: str, header: str, names: tuple[str, ...]
) -> None:
    path = written(tmp_path / "rows.csv", text.encode())
    assert read(Request(source=str(path), columns=columns, header=header)).inputs == names
    with path.open("rb") as file:
        assert csv_files.parse_csv(str(path), file, Part(columns=columns, header=header)).names == names or not names


def test_a_column_with_text_does_no_harm_unless_it_is_chosen(tmp_path: Path) -> None:
    text = "name,a,b\nx,1,2\ny,3,4\n"
    assert read_csv(tmp_path, text, "a,b") == [[1, 2], [3, 4]]
    with pytest.raises(
        DataError, match="column 0 .'name'. holds texts such as 'x', not numbers; choose numeric columns"
    ):
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
    for data, message in (
        (b"1,2\n3,4\0", r"rows\.csv: is not text \(byte 7\); give CSV in UTF-8"),
        (b"\x01,2\n3,4", r"rows\.csv: is not text \(byte 0\); give CSV in UTF-8"),
        ("1,°\n".encode() + b"1,\xff\n", r"rows\.csv: is not text \(byte 7\); give CSV in UTF-8"),
    ):
        with pytest.raises(DataError, match=message):
            read_array(written(tmp_path / "rows.csv", data))


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"1,2\n" * 100)
    for data in (whole[:-3], whole[:12], whole[:20] + b"\xff\xff" + whole[22:], b"\x1f\x8bgarbage"):
        with pytest.raises(DataError, match=r"rows\.csv\.gz: is damaged gzip .*; compress it again"):
            read_array(written(tmp_path / "rows.csv.gz", data))


@pytest.mark.parametrize("columns", ["²", "٣", "9" * 5000, "0-" + "9" * 5000, "1-0"], ids=lambda text: text[:9])
def test_columns_that_no_file_has_are_one_sentence(tmp_path: Path, columns: str) -> None:
    with pytest.raises(DataError, match="has no column") as caught:
        read_csv(tmp_path, "1,2\n3,4\n", columns)
    assert len(str(caught.value)) < 1000


def test_a_gzip_bomb_is_refused_while_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "ALWAYS", 1 << 16)
    with pytest.raises(DataError, match=r"unpacks to more than 200 times its size; give it unpacked"):
        read_array(written(tmp_path / "rows.csv.gz", gzip.compress(b"0,0\n" * 500_000)))
    rows = "\n".join(f"{number},0" for number in range(20_000)).encode()
    assert len(read_array(written(tmp_path / "rows.csv.gz", gzip.compress(rows)))) == 20_000


def test_blocks_of_lines_give_the_rows_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 1000)
    monkeypatch.setattr(text, "PIECE", 300)
    lines = "a,b\n" + "".join(f"{number},{number}.5\n" for number in range(100))
    assert read_csv(tmp_path, lines, "b") == [[number + 0.5] for number in range(100)]
    with pytest.raises(DataError, match="line 102, column 1 is 'x'"):
        read_csv(tmp_path, lines + "1,x\n")


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 10)
    monkeypatch.setattr(text, "PIECE", 10)
    monkeypatch.setattr(limits, "LONGEST_LINE", 100)
    with pytest.raises(DataError, match="write a line for each row"):
        read_csv(tmp_path, "1," * 60)


def test_rows_that_the_memory_does_not_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: 1000)
    with pytest.raises(DataError, match=r"would need .*; give fewer rows"):
        read_csv(tmp_path, "1,2\n" * 100)


def test_a_csv_file_of_millions_of_columns_is_refused_by_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",".join(["1"] * (limits.MOST_CELLS + 1)))
    with pytest.raises(DataError, match=r"a\.csv: has 1,048,577 columns; CSV has at most 1,048,576, so give the rows"):
        read_array(tmp_path / "a.csv")


def test_wide_lines_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [[f"{value:.3f}" for value in row] for row in random.normal(size=(40, 9))]
    for row, line in enumerate(rows):
        line[2] = ("fan", "pump")[row % 2]
        line[5] = f"2024-01-{1 + row % 28:02}"
    rows[3][4], rows[7][4], rows[9][0] = "", "abc", "NA"
    content = "\n".join(map(",".join, [[f"c{place}" for place in range(9)], *rows])).encode()
    monkeypatch.setattr(text, "BLOCK", 500)
    monkeypatch.setattr(text, "PIECE", 200)
    for columns in ("", "c4,c2,c0"):
        found = []
        for width in (1000, 5):
            monkeypatch.setattr(wide, "WIDE", width)
            found.append(csv_files.parse_csv("f", io.BytesIO(content), Part(columns=columns)))
        assert np.array_equal(found[0].cells, found[1].cells, equal_nan=True)
        assert found[0].columns == found[1].columns and found[0].notes == found[1].notes
    assert found[0].columns[0].unread == 1
    monkeypatch.setattr(wide, "WIDE", 2)
    with pytest.raises(DataError, match="line 3 has 4 cells, the first line 3"):
        csv_files.parse_csv("f", io.BytesIO(b"1,2,3\n4,5,6\n7,8,9,1\n2,3\n"), Part())
