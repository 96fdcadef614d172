"""Datasets: checked, split, scaled, and known by their fingerprint."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from aecompress.data.base import Raw, Request
from aecompress.data.chosen import Chosen
from aecompress.data.dataset import Dataset, load, read_rows, write_npz
from aecompress.data.scaling import Scaling, fit_scaling
from aecompress.data.table import cells_of
from aecompress.errors import DataError


def saved(path: Path, rows: np.ndarray) -> str:
    np.save(path, rows)
    return str(path)


def random_rows(rows: int = 40, inputs: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, inputs))


def test_loading_digits_gives_scaled_rows_in_three_splits() -> None:
    dataset = load(Request())
    assert {name: rows.shape for name, rows in dataset.splits.items()} == {
        "train": (1438, 64),
        "validation": (179, 64),
        "test": (180, 64),
    }
    assert all(rows.dtype == np.float32 and rows.flags.c_contiguous for rows in dataset.splits.values())
    assert dataset.shape == (8, 8)
    assert dataset.scaling.kind == "none"


def test_the_splits_of_a_file_hold_its_rows_once(tmp_path: Path) -> None:
    rows = random_rows(50).astype(np.float32)
    dataset = load(Request(source=saved(tmp_path / "a.npy", rows), scaling="none", seed=3))
    together = np.concatenate([dataset.train, dataset.validation, dataset.test])
    assert sorted(map(tuple, together)) == sorted(map(tuple, rows))


def test_given_validation_and_test_files_are_taken_whole(tmp_path: Path) -> None:
    train, other = random_rows(20), random_rows(7, seed=1)
    np.savez(tmp_path / "other.npz", first=other, second=other[:3])
    request = Request(
        source=saved(tmp_path / "train.npy", train),
        validation=f"{tmp_path / 'other.npz'}:first",
        test=f"{tmp_path / 'other.npz'}:second",
        scaling="none",
    )
    dataset = load(request)
    assert np.array_equal(dataset.train, train.astype(np.float32))
    assert np.array_equal(dataset.validation, other.astype(np.float32))
    assert np.array_equal(dataset.test, other[:3].astype(np.float32))


def test_clusters_bring_their_own_validation_and_test_rows() -> None:
    dataset = load(Request(source="binary-clusters:3x4x20", seed=5))
    assert {len(rows) for rows in dataset.splits.values()} == {12}
    assert list(dataset.notes) == ["train_flip_rate", "validation_flip_rate", "test_flip_rate"]


def test_rows_of_standard_input_are_kept_for_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(source="-", columns="b,c")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b,c\n" + b"1,2,3\n4,5,6\n7,8,9\n" * 5)))
    first = load(request)
    assert first.stdin is not None
    assert cells_of(first.stdin).tolist() == [[2, 3], [5, 6], [8, 9]] * 5
    again = load(request, Raw(name="stdin", train=first.stdin))
    assert again.name == first.name == "stdin"
    assert again.fingerprint == first.fingerprint
    for name, rows in first.splits.items():
        assert np.array_equal(again.splits[name], rows)


def test_rows_of_a_file_are_not_kept(tmp_path: Path) -> None:
    assert load(Request(source=saved(tmp_path / "a.npy", random_rows()))).stdin is None


def test_columns_are_taken_from_every_csv_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,x,y\n" + "p,1,2\nq,3,5\n" * 3)
    request = Request(source=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"), columns="y", scaling="none")
    dataset = load(request)
    assert dataset.shape == (1,)
    assert dataset.test[:, 0].tolist() == [2, 5] * 3


def test_all_rows_may_be_for_training(tmp_path: Path) -> None:
    dataset = load(Request(source=saved(tmp_path / "a.npy", random_rows()), split=(1, 0, 0)))
    assert list(dataset.splits) == ["train"]
    assert dataset.validation.shape == dataset.test.shape == (0, 5)


def test_so_few_rows_that_a_split_is_empty_are_enough(tmp_path: Path) -> None:
    dataset = load(Request(source=saved(tmp_path / "a.npy", random_rows(4))))
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 3, "validation": 1}


def test_one_training_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leaves 1 training rows; at least 2 are needed"):
        load(Request(source=saved(tmp_path / "a.npy", random_rows(1))))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_given_part_of_another_width_is_refused(tmp_path: Path, part: str) -> None:
    source, other = saved(tmp_path / "a.npy", random_rows()), saved(tmp_path / "b.npy", random_rows(inputs=4))
    with pytest.raises(DataError, match=r"b\.npy: its rows have shape \(4,\), those of .*a\.npy \(5,\); they must"):
        load(Request(**{"source": source, part: other}))


@pytest.mark.parametrize("part", ["source", "validation", "test"])
def test_a_bad_value_is_found_in_whichever_file_it_lies(tmp_path: Path, part: str) -> None:
    bad = random_rows()
    bad[3, 2] = np.nan
    files = {"source": saved(tmp_path / "good.npy", random_rows())} | {part: saved(tmp_path / "bad.npy", bad)}
    with pytest.raises(DataError, match=r"bad\.npy: row 3, column 2 is nan"):
        load(Request(**files))


@pytest.mark.parametrize("scaling", ["auto", "none", "minmax", "standard"])
def test_rows_too_large_for_float32_are_refused_without_a_warning(tmp_path: Path, scaling: str) -> None:
    rows = random_rows()
    rows[:, 1] = np.where(np.arange(40) % 2, 1.7e308, -1.7e308)
    with pytest.raises(DataError, match=r"big\.npy: train rows overflow float32 after scaling"):
        load(Request(source=saved(tmp_path / "big.npy", rows), scaling=scaling))


@pytest.mark.parametrize(
    ("rows", "binary", "unit"),
    [
        (np.eye(4, dtype=np.uint8), True, True),
        (np.eye(4) * 0.5, False, True),
        (np.eye(4) * 2, False, False),
        (np.eye(4) - 0.5, False, False),
    ],
    ids=["0/1", "unit", "above 1", "below 0"],
)
def test_facts_tell_0_1_rows_from_unit_rows_from_real_ones(
    tmp_path: Path, rows: np.ndarray, binary: bool, unit: bool
) -> None:
    request = Request(source=saved(tmp_path / "a.npy", rows), scaling="none", split=(1, 0, 0))
    facts = load(request).facts
    assert (facts.rows, facts.inputs, facts.binary, facts.unit) == (4, 4, binary, unit)
    assert (facts.shape, facts.sparse) == ((4,), False)


@pytest.mark.parametrize("kind", ["auto", "minmax", "standard"])
def test_scaling_is_fitted_on_training_rows_only(tmp_path: Path, kind: str) -> None:
    train, other = random_rows(), random_rows(seed=1) * 100
    request = Request(
        source=saved(tmp_path / "train.npy", train),
        validation=saved(tmp_path / "val.npy", other),
        test=saved(tmp_path / "test.npy", other + 5),
        scaling=kind,
    )
    dataset = load(request)
    assert dataset.scaling == fit_scaling(kind, Chosen(train))
    assert np.array_equal(dataset.validation, dataset.scaling.apply(Chosen(other)))
    assert np.array_equal(dataset.test, dataset.scaling.apply(Chosen(other + 5)))
    assert float(dataset.validation.max()) > 2


# ---------------------------------------------------------------- fingerprint


def fingerprint(path: Path, rows: np.ndarray, seed: int = 0, **more: object) -> str:
    return load(Request(**{"source": saved(path, rows), "seed": seed, **more})).fingerprint


def test_the_fingerprint_is_of_the_rows_and_not_of_the_file(tmp_path: Path) -> None:
    first, again = (fingerprint(tmp_path / name, random_rows()) for name in ("a.npy", "b.npy"))
    assert first == again
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")


def test_the_fingerprint_changes_with_every_change_of_the_rows(tmp_path: Path) -> None:
    rows = random_rows()
    changed = rows.copy()
    changed[17, 3] = np.nextafter(changed[17, 3], 9)
    prints = [
        fingerprint(tmp_path / "a.npy", rows),
        fingerprint(tmp_path / "a.npy", changed),
        fingerprint(tmp_path / "a.npy", rows[:-1]),
        fingerprint(tmp_path / "a.npy", rows.astype(np.float32)),
        fingerprint(tmp_path / "a.npy", rows.reshape(20, 10)),
        fingerprint(tmp_path / "a.npy", rows, seed=1),
        fingerprint(tmp_path / "a.npy", rows, split=(0.7, 0.2, 0.1)),
    ]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_tells_types_of_the_same_bytes_apart(tmp_path: Path) -> None:
    rows = np.tile(np.eye(5, dtype=np.uint8), (8, 1))
    prints = {fingerprint(tmp_path / "a.npy", rows.view(dtype)) for dtype in (np.uint8, np.int8, np.bool_)}
    assert len(prints) == 3


def test_the_fingerprint_does_not_change_with_the_scaling(tmp_path: Path) -> None:
    prints = {fingerprint(tmp_path / "a.npy", random_rows(), scaling=kind) for kind in ("none", "minmax", "standard")}
    assert len(prints) == 1


# ---------------------------------------------------------------- write_npz


def test_written_splits_are_read_back_equal(tmp_path: Path) -> None:
    dataset = load(Request())
    path = tmp_path / "digits.npz"
    write_npz(dataset, path)
    with np.load(path) as arrays_read:
        assert sorted(arrays_read.files) == ["test", "train", "validation"]
        assert arrays_read["train"].shape == (1438, 8, 8)
    request = Request(source=f"{path}:train", validation=f"{path}:validation", test=f"{path}:test")
    back = load(request)
    for name, rows in dataset.splits.items():
        assert np.array_equal(back.splits[name], rows)
    assert back.shape == dataset.shape
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits.npz"]


def test_empty_splits_are_not_written(tmp_path: Path) -> None:
    dataset = load(Request(split=(1, 0, 0)))
    write_npz(dataset, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as arrays_read:
        assert arrays_read.files == ["train"]


@pytest.mark.parametrize("name", ["rows.npy", "rows", "rows.npz.txt"])
def test_splits_are_written_to_npz_files_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"end the name in \.npz"):
        write_npz(tiny(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_and_left_clean(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no/rows\.npz: cannot be written \(No such file or directory\)"):
        write_npz(tiny(), tmp_path / "no" / "rows.npz")
    (tmp_path / "taken.npz").mkdir()
    with pytest.raises(DataError, match=r"taken\.npz: cannot be written \(Is a directory\); choose another place"):
        write_npz(tiny(), tmp_path / "taken.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.npz"]


def tiny() -> Dataset:
    rows = np.zeros((2, 3), np.float32)
    return Dataset(
        name="tiny",
        train=rows,
        validation=rows[:0],
        test=rows[:0],
        shape=(3,),
        scaling=Scaling("none", 0.0, 1.0),
        fingerprint="0" * 16,
        notes={},
    )


def test_rows_for_a_model_keep_their_shape_and_order(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((5, 2, 3))
    np.save(tmp_path / "rows.npy", rows)
    (block,) = read_rows(Request(source="rows.npy", directory=tmp_path))[0].blocks()
    assert np.array_equal(block, rows.reshape(5, 6))


@pytest.mark.parametrize("rows", [np.arange(40.0), np.arange(80.0).reshape(40, 2), np.arange(240.0).reshape(40, 3, 2)])
def test_rows_for_a_model_of_windows_are_windows_of_a_series_or_such_already(tmp_path: Path, rows: np.ndarray) -> None:
    np.save(tmp_path / "rows.npy", rows)
    request = Request(source="rows.npy", directory=tmp_path, window=4, stride=3)
    windows = np.stack([rows[first : first + 4].ravel() for first in range(0, 37, 3)])
    assert np.array_equal(np.concatenate(list(read_rows(request, windows.shape[1])[0].blocks())), windows)
    np.save(tmp_path / "rows.npy", windows.reshape(13, 4, *rows.shape[1:]))
    assert np.array_equal(np.concatenate(list(read_rows(request, windows.shape[1])[0].blocks())), windows)


def test_interactions_are_not_rows_for_a_model() -> None:
    with pytest.raises(DataError, match=r"interactions:p\.csv: is for training; give rows as \.npy or \.npz"):
        read_rows(Request(source="interactions:p.csv"))


@pytest.mark.parametrize("scaling", ["auto", "none", "minmax", "standard"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_rows_read_from_their_file_are_those_read_into_memory(tmp_path: Path, dtype: str, scaling: str) -> None:
    rows = (np.random.default_rng(0).random((400, 2, 3)) * 200).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "rows.npz", rows)  # whose rows are in memory
    ours, theirs = (
        load(Request(source=f"rows.{ending}", scaling=scaling, directory=tmp_path)) for ending in ("npy", "npz")
    )
    assert ours.fingerprint == theirs.fingerprint and ours.scaling == theirs.scaling and ours.facts == theirs.facts
    for name, part in ours.splits.items():
        assert part.dtype == np.float32 and np.array_equal(part, theirs.splits[name])
