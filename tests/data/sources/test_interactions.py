"""Files of interactions: pairs become sparse rows of users, or the file is named."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from aecompress.data.base import Request
from aecompress.data.sources.interactions import read_interactions, users_and_items
from aecompress.data.sparse import few
from aecompress.errors import DataError
from tests.data.test_interactions import SMALL


def test_a_file_of_pairs_becomes_rows_of_users(tmp_path: Path) -> None:
    text = "user,item,times\nanna,x,3\nbert,y,1\nanna,z,1\n\nanna,x,9\nbert,x,1\n"
    (tmp_path / "pairs.csv").write_text(text)
    with gzip.open(tmp_path / "pairs.csv.gz", "wt") as packed:
        packed.write(text)
    for name in ("pairs.csv", "pairs.csv.gz"):
        rows, items = users_and_items(tmp_path / name)
        assert items == ["x", "y", "z"]
        assert few(rows).tolist() == [[1, 0, 1], [1, 1, 0]]
    swapped, items = users_and_items(tmp_path / "pairs.csv", "item,user")
    assert items == ["anna", "bert"] and few(swapped).tolist() == [[1, 1], [0, 1], [1, 0]]
    (tmp_path / "bare.csv").write_text("9,1,7\n9,2,7\n8,1,5\n")
    rows, items = users_and_items(tmp_path / "bare.csv", "2,1", "no")
    assert items == ["1", "2"] and few(rows).tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("uid,sid\na,1\nb,2\n", 2),
        ("User_ID,song\na,1\nb,2\n", 2),
        ("user1,1\nuser2,2\n", 2),
        ("a\t1\t3\nb\t2\t1\nc,d\t1\t2\n", 3),
    ],
    ids=["uid", "user_id", "users called user", "tabs, as the Million Song triplets"],
)
def test_a_header_is_known_by_its_name_and_tabs_by_being_there(tmp_path: Path, text: str, users: int) -> None:
    (tmp_path / "p.csv").write_text(text)
    rows, items = users_and_items(tmp_path / "p.csv")
    assert len(rows) == users and items == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        (None, "", "cannot be read"),
        ("user,item\na,1\n", "", "has 1 users and 1 items"),
        ("", "", "has 0 users"),
        ("user,item\na,1\nb\n", "", "line 3 has 1 cells"),
        ("user,item\na,1\nb,2\n", "user,song", "no column 'song'"),
        ("a,1\nb,2\n", "0,7", "has no column '7'"),
        ("user,item\na,1\nb,2\n", "user", "name user and item"),
        (b"user,item\n\xff\xfe,1\n", "", "is not CSV text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | bytes | None, columns: str, says: str) -> None:
    if text is not None:
        (tmp_path / "p.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=says) as fault:
        users_and_items(tmp_path / "p.csv", columns)
    assert "p.csv" in str(fault.value)


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    data = gzip.compress(SMALL.read_bytes())
    (tmp_path / "p.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is damaged gzip"):
        users_and_items(tmp_path / "p.csv.gz")


def test_a_source_of_interactions_brings_items_and_counts() -> None:
    raw = read_interactions(Request(source=f"interactions:{SMALL.name}", directory=SMALL.parent))
    assert (raw.name, raw.train.shape, len(raw.inputs)) == ("interactions", (240, 60), 60)
    assert raw.notes == {"interactions": 2290.0, "density": 2290 / (240 * 60)}


def test_a_damaged_gzip_file_is_one_sentence(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"u1,a\nu1,b\nu2,a\n" * 50))
    data[12:16] = b"\xff\xff\xff\xff"
    (tmp_path / "x.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match="is damaged gzip"):
        users_and_items(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("columns", ["²,0", "٣,1", "9" * 5000 + ",0"], ids=["superscript", "arabic", "long"])
def test_columns_are_named_by_the_ten_digits(tmp_path: Path, columns: str) -> None:
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match="has no column") as caught:
        users_and_items(tmp_path / "x.csv", columns)
    assert len(str(caught.value)) < 1000


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(DataError, match="not a file"):
        users_and_items(tmp_path / "x.csv")
