"""How files of lines are written: what is inferred from the first of them, and what it is called."""

from __future__ import annotations

import io

import numpy as np
import pytest

from aecompress.data.base import Part
from aecompress.data.sources.csv_files import parse_csv
from aecompress.data.table import Table
from aecompress.errors import DataError

NAN = float("nan")


def table(text: str | bytes, header: str = "auto", columns: str = "") -> Table:
    content = text if isinstance(text, bytes) else text.encode()
    return parse_csv("f", io.BytesIO(content), Part(header=header, columns=columns))


CASES: dict[str, tuple[str | bytes, list[list[float]], tuple[str, ...], str]] = {
    "semicolons": ("a;b\n1.5;2\n3;4\n", [[1.5, 2], [3, 4]], ("a", "b"), "cells are separated by ';'"),
    "tabs": ("a\tb\n1\t2\n", [[1, 2]], ("a", "b"), "cells are separated by tabs"),
    "bars": ("1|2\n3|4\n", [[1, 2], [3, 4]], (), "cells are separated by '|'"),
    "spaces": ("  1  2\n-3 4 \n", [[1, 2], [-3, 4]], (), "cells are separated by white space"),
    "mark of Excel": ("sep=;\na;b\n1;2\n", [[1, 2]], ("a", "b"), "cells are separated by ';'"),
    "decimal comma": ("a;b\n0,5;-1,25\n3;4\n", [[0.5, -1.25], [3, 4]], ("a", "b"), "numbers have a decimal comma"),
    "points between": ("a;b\n1.234,5;2\n12.000;0,5\n", [[1234.5, 2], [12000, 0.5]], ("a", "b"), "points between"),
    "one column": ("1,25\n-0,05\n", [[1.25], [-0.05]], (), "decimal comma, in one column"),
    "thousands": ('a,b\n"1,234",5\n"2,345,678",6\n', [[1234, 5], [2345678, 6]], ("a", "b"), "commas between thousands"),
    "spaces between": ("a;b\n1 234;5\n12 345;6\n", [[1234, 5], [12345, 6]], ("a", "b"), "spaces between thousands"),
    "signs": ("a,b\n$1.5,12%\n€2,3.5 %\n", [[1.5, 12], [2, 3.5]], ("a", "b"), "signs of currency or percent"),
    "Fortran": ("1.5D+01,2\n-2d-1,3\n", [[15, 2], [-0.2, 3]], (), ""),
    "minus": ("\u22121.5,2\n3,\u22124\n", [[-1.5, 2], [3, -4]], (), ""),
    "numbered": ("0,1,2\n0.5,0.1,7.5\n", [[0.5, 0.1, 7.5]], ("0", "1", "2"), "the first line, 0 to 2, numbers"),
    "years": ("2019,2020,2021\n0.5,0.1,7.5\n", [[0.5, 0.1, 7.5]], ("2019", "2020", "2021"), "numbers the columns"),
    "dates above": ("2024-01-01,2024-01-02\n1,2\n", [[1, 2]], ("2024-01-01", "2024-01-02"), "names the columns"),
    "counting rows": ("0,1,2\n3,4,5\n", [[0, 1, 2], [3, 4, 5]], (), ""),
    "bits": ("0,1\n1,1\n", [[0, 1], [1, 1]], (), ""),
    "texts without header": ("0.5,pump\n0.25,fan\n", [[0.5, 0], [0.25, 1]], (), ""),
    "comments": (
        "# logger\n# unit: V\na,b\n1,2\n# end\n",
        [[1, 2]],
        ("a", "b"),
        "lines that begin with # are comments",
    ),
    "names in a comment": ("# a b\n1 2\n", [[1, 2]], ("a", "b"), "a comment names the columns"),
    "comment at the end": ("1,2\n3,4\n# end\n", [[1, 2], [3, 4]], (), ""),
    "title": ("Pump 3\na,b\n1,2\n3,4\n5,6\n", [[1, 2], [3, 4], [5, 6]], ("a", "b"), "line 1 is a title ('Pump 3')"),
    "units": ("a,b\nV,mA\n1,2\n3,4\n", [[1, 2], [3, 4]], ("a", "b"), "line 2 holds units (V, mA)"),
    "trailing": ("a,b,\n1,2,\n", [[1, 2]], ("a", "b"), "a delimiter ends every line"),
    "single quotes": ("'a','b'\n'1.5','2'\n", [[1.5, 2]], ("a", "b"), ""),
    "spaces and quotes": ('"a", "b"\n"1", "2"\n', [[1, 2]], ("a", "b"), ""),
    "lines in quotes": ('"a\nb",c\n1,2\n', [[1, 2]], ("a b", "c"), ""),
    "carriage returns": ("a,b\r1,2\r3,4\r", [[1, 2], [3, 4]], ("a", "b"), ""),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), [[1, 2]], ("a", "b"), "its text is taken as UTF-16"),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-be"), [[1, 2]], ("a", "b"), "UTF-16"),
    "Windows": ("°C,b\n1,2\n".encode("cp1252"), [[1, 2]], ("°C", "b"), "its text is taken as Windows-1252"),
    "missing": ("a,b\n1,\nNA,2\n?,null\n-,NaN\n", [[1, NAN], [NAN, 2], [NAN, NAN], [NAN, NAN]], ("a", "b"), ""),
    "infinity": ("a,b\ninf,1\n-Infinity,2\n", [[np.inf, 1], [-np.inf, 2]], ("a", "b"), ""),
}


@pytest.mark.parametrize(("text", "rows", "names", "note"), CASES.values(), ids=CASES)
def test_what_a_file_is_written_like_is_inferred(
    text: str | bytes, rows: list[list[float]], names: tuple[str, ...], note: str
) -> None:
    read = table(text)
    assert np.array_equal(read.cells, rows, equal_nan=True)
    assert (read.names if read.named else ()) == names
    assert any(note in each for each in read.notes) if note else read.notes == ()


def test_the_header_that_is_requested_counts() -> None:
    assert table("0,1\n2.5,3\n", "no").cells.tolist() == [[0, 1], [2.5, 3]]
    assert table("7,8\n1,2\n", "yes").names == ("7", "8")


def test_a_column_holds_what_most_of_its_cells_are() -> None:
    read = table("t,on,kind,x\n2024-01-02,True,fan,1\n2024-01-03 12:00,false,,abc\n,True,pump,3\n2024-01-05,,fan,4\n")
    assert [column.holds for column in read.columns] == ["date", "boolean", "text", "number"]
    assert read.columns[2].texts == ("fan", "pump")
    day = 86400.0
    expected = [
        [19724 * day, 1, 0, 1],
        [NAN, 0, NAN, NAN],
        [NAN, 1, 1, 3],
        [19727 * day, NAN, 0, 4],
    ]
    assert np.array_equal(read.cells, expected, equal_nan=True)
    assert (read.columns[3].unread, read.columns[3].example) == (1, "line 3 is 'abc'")
    assert (read.columns[0].unread, read.columns[0].example) == (1, "line 3 is '2024-01-03 12:00'")
    assert (read.columns[2].unread, read.columns[2].example) == (0, "line 3 is empty")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-03-01T10:30:00", 1709289000),
        ("2024-03-01 10:30:00.5", 1709289000.5),
        ("2024-03-01T10:30:00Z", 1709289000),
        ("2024-03-01T12:30:00+02:00", 1709289000),
        ("01.03.2024 10:30", 1709289000),
        ("2024/03/01", 1709251200),
        ("01-Mar-2024", 1709251200),
        ("28/02/2024", 1709078400),
        ("02/28/2024 01:30:00 PM", 1709127000),
    ],
)
def test_dates_are_seconds_since_1970(written: str, seconds: float) -> None:
    read = table(f"t,x\n{written},1\n{written},2\n")
    assert read.columns[0].holds == "date"
    assert read.cells[:, 0].tolist() == [seconds] * 2


def test_the_order_of_day_and_month_is_said() -> None:
    assert table("t,x\n01/02/2024,1\n03/04/2024,2\n").notes == ("dates of column 0 ('t') are taken as month/day/year",)


def test_a_quote_that_is_never_closed_is_named() -> None:
    with pytest.raises(DataError, match="a quote is opened in line 3 or before, and never closed"):
        table('a,b\n1,2\n"3,4\n')


def test_texts_beyond_a_limit_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecompress.data.sources.cells.MOST_TEXTS", 2)
    read = table("x,kind\n" + "".join(f"1,{text}\n" for text in "abcda"))
    assert read.columns[1].texts == ("a", "b", "(other texts)")
    assert read.cells[:, 1].tolist() == [0, 1, 2, 2, 0]
    assert read.notes == ("column 1 ('kind') has more than 2 different texts; the others are taken as one",)
