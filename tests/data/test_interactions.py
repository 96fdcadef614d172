from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecompress.data.dataset import load, write_npz
from aecompress.data.describe import describe
from aecompress.data.interactions import FEW, SparseRows, few, read_interactions
from aecompress.errors import DataError
from aecompress.spec.fields import DataSpec

SMALL = Path(__file__).parent.parent / "fixtures" / "interactions.csv"


def sparse(dense: np.ndarray) -> SparseRows:
    owners, places = np.nonzero(dense)
    starts = np.searchsorted(owners, np.arange(len(dense) + 1)).astype(np.int64)
    return SparseRows(starts, places.astype(np.int32), dense.shape[1])


DENSE = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=7)
).map(lambda rows: np.array(rows, dtype=np.float32))  # fmt: skip


@given(DENSE, st.integers(0, 8), st.integers(0, 8), st.randoms())
def test_sparse_rows_are_the_dense_rows(dense: np.ndarray, first: int, last: int, random: object) -> None:
    rows = sparse(dense)
    assert rows.shape == dense.shape and len(rows) == len(dense)
    np.testing.assert_array_equal(rows[first:last], dense[first:last])
    np.testing.assert_array_equal(few(rows), dense[:FEW])
    np.testing.assert_allclose(rows.mean(0), dense.mean(0))
    assert float(rows.mean()) == pytest.approx(dense.mean())
    index = np.random.default_rng(len(dense)).permutation(len(dense))[: len(dense) // 2 + 1]
    np.testing.assert_array_equal(few(rows.pick(index)), dense[index])


def test_a_file_of_pairs_becomes_rows_of_users(tmp_path: Path) -> None:
    text = "user,item,times\nanna,x,3\nbert,y,1\nanna,z,1\n\nanna,x,9\nbert,x,1\n"
    (tmp_path / "pairs.csv").write_text(text)
    with gzip.open(tmp_path / "pairs.csv.gz", "wt") as packed:
        packed.write(text)
    for name in ("pairs.csv", "pairs.csv.gz"):
        rows, items = read_interactions(f"interactions:{name}", "", "auto", tmp_path)
        assert items == ["x", "y", "z"]
        assert few(rows).tolist() == [[1, 0, 1], [1, 1, 0]]
    swapped, items = read_interactions("interactions:pairs.csv", "item,user", "auto", tmp_path)
    assert items == ["anna", "bert"] and few(swapped).tolist() == [[1, 1], [0, 1], [1, 0]]
    (tmp_path / "bare.csv").write_text("9,1,7\n9,2,7\n8,1,5\n")
    rows, items = read_interactions("interactions:bare.csv", "2,1", "no", tmp_path)
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
    rows, items = read_interactions("interactions:p.csv", "", "auto", tmp_path)
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
        read_interactions("interactions:p.csv", columns, "auto", tmp_path)
    assert "p.csv" in str(fault.value)


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    data = gzip.compress(SMALL.read_bytes())
    (tmp_path / "p.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is not CSV text"):
        read_interactions("interactions:p.csv.gz", "", "auto", tmp_path)


def test_users_are_split_and_the_items_named(tmp_path: Path) -> None:
    spec = DataSpec(source=f"interactions:{SMALL}")
    dataset = load(spec, 3)
    assert {name: rows.shape for name, rows in dataset.splits.items()} == {
        "train": (192, 60), "validation": (24, 60), "test": (24, 60),
    }  # fmt: skip
    assert len(dataset.inputs) == 60 and len(set(dataset.inputs)) == 60
    whole, _ = read_interactions(spec.source, "", "auto", Path())
    parts = np.concatenate([few(rows) for rows in dataset.splits.values()])
    assert sorted(map(tuple, parts)) == sorted(map(tuple, few(whole)))
    assert load(spec, 3).fingerprint == dataset.fingerprint != load(spec, 4).fingerprint
    facts = describe(dataset)
    train = few(dataset.train)
    assert facts["interactions"] == 2290 and facts["mean"] == pytest.approx(train.mean())
    assert facts["constant_mse"] == pytest.approx(train.var(0, dtype=float).mean())
    with pytest.raises(DataError, match="kept sparse"):
        write_npz(dataset, tmp_path / "rows.npz")
