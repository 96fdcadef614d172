"""Datasets: checked, split, scaled, and known by their fingerprint."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aecompress.data.dataset import Dataset, checked, load, write_npz
from aecompress.data.scaling import Scaling, fit_scaling
from aecompress.data.split import split
from aecompress.errors import DataError
from aecompress.spec.fields import DataSpec

NONE = {"validation": None, "test": None}


def saved(path: Path, rows: np.ndarray) -> str:
    np.save(path, rows)
    return str(path)


def random_rows(rows: int = 40, inputs: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, inputs))


# ---------------------------------------------------------------- checked


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float16", "float32", "float64"])
def test_finite_numbers_pass_the_check_untouched(dtype: str) -> None:
    rows = np.ones((2, 3), dtype)
    assert checked("here", rows) is rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([["a", "b"]]), "here: holds values of type <U1, not numbers"),
        (np.array([[1 + 2j]]), "here: holds values of type complex128, not numbers"),
        (np.array([["2024-01-01"]], "datetime64[D]"), r"here: holds values of type datetime64\[D\], not numbers"),
        (np.zeros((2, 2), [("a", "f4")]), "here: holds values of type .*, not numbers"),
        (np.zeros(3), r"here: has shape \(3,\); rows of inputs are needed, shape \(rows, inputs\)"),
        (np.array(3.0), r"here: has shape \(\); rows of inputs are needed"),
        (np.zeros((0, 3)), r"here: has shape \(0, 3\), so no values"),
        (np.zeros((3, 0)), r"here: has shape \(3, 0\), so no values"),
        (np.zeros((3, 0, 2)), r"here: has shape \(3, 0, 2\), so no values"),
    ],
    ids=["text", "complex", "dates", "records", "1-D", "0-D", "no rows", "no inputs", "no pixels"],
)
def test_rows_that_are_not_a_table_of_numbers_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked("here", rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_first_value_that_is_not_finite_is_named(value: float, dtype: str) -> None:
    rows = np.zeros((4, 2, 3), dtype)
    rows[2, 1, 1] = rows[3, 0, 0] = value
    with pytest.raises(DataError, match=rf"here: row 2, column 4 is {value}; remove or fill in such values first"):
        checked("here", rows)


# ---------------------------------------------------------------- split

rows_and_shares = st.tuples(
    st.integers(1, 60),
    st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)).map(
        lambda parts: tuple(part / sum(parts) for part in parts)
    ),
    st.integers(0, 1000),
)


@given(rows_and_shares)
@settings(deadline=None, max_examples=50)
def test_a_split_is_disjoint_complete_and_of_the_asked_size(case: tuple[int, tuple[float, ...], int]) -> None:
    count, shares, seed = case
    parts = split(np.arange(count)[:, None], shares, NONE, seed)
    assert sorted(np.concatenate(parts)[:, 0]) == list(range(count))
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share * count) <= 1 + 1e-9
        assert list(part[:, 0]) == sorted(part[:, 0])


def test_a_split_has_exactly_its_shares_where_they_come_out_even() -> None:
    parts = split(np.arange(200)[:, None], (0.8, 0.15, 0.05), NONE, 0)
    assert [len(part) for part in parts] == [160, 30, 10]


def test_the_seed_draws_the_split() -> None:
    first, again, other = (split(np.arange(100)[:, None], (0.5, 0.3, 0.2), NONE, seed) for seed in (1, 1, 2))
    for index in range(3):
        assert np.array_equal(first[index], again[index])
        assert not np.array_equal(first[index], other[index])


def test_a_split_is_drawn_at_random_over_the_whole_file() -> None:
    test = split(np.arange(1000)[:, None], (0.8, 0.1, 0.1), NONE, 0)[2]
    assert 400 < test.mean() < 600


@pytest.mark.parametrize(
    ("given_parts", "sizes"),
    [
        (("validation",), [80, 0, 20]),
        (("test",), [60, 40, 0]),
        (("validation", "test"), [100, 0, 0]),
    ],
)
def test_a_given_part_takes_no_rows_and_the_others_grow_in_proportion(
    given_parts: tuple[str, ...], sizes: list[int]
) -> None:
    given_rows = NONE | {name: np.zeros((3, 1)) for name in given_parts}
    parts = split(np.arange(100)[:, None], (0.48, 0.32, 0.12), given_rows, 0)
    assert [len(part) for part in parts] == sizes


def test_rows_stay_in_order_where_all_are_for_training() -> None:
    rows = random_rows()
    train, validation, test = split(rows, (1, 0, 0), NONE, 0)
    assert np.array_equal(train, rows)
    assert (validation.shape, test.shape) == ((0, 5), (0, 5))


# ---------------------------------------------------------------- scaling


def test_scaling_none_only_changes_the_number_format() -> None:
    rows = random_rows()
    scaling = fit_scaling("none", rows)
    assert scaling == Scaling("none", 0.0, 1.0)
    assert np.array_equal(scaling.apply(rows), rows.astype(np.float32))


def test_scaling_minmax_brings_every_training_column_to_0_and_1() -> None:
    rows = random_rows() * [1, 10, 1e-6, 1e6, 3]
    scaled = fit_scaling("minmax", rows).apply(rows)
    assert scaled.dtype == np.float32
    assert scaled.min(0).tolist() == [0] * 5
    assert scaled.max(0).tolist() == [1] * 5


def test_scaling_standard_brings_every_training_column_to_mean_0_and_deviation_1() -> None:
    rows = random_rows() * [1, 10, 1e-6, 1e6, 3] + 7
    scaled = fit_scaling("standard", rows).apply(rows).astype(float)
    assert np.abs(scaled.mean(0)).max() < 1e-6
    assert np.abs(scaled.std(0) - 1).max() < 1e-6


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.array([[0, 255], [51, 0]], np.uint8), Scaling("bytes", 0.0, 255.0)),
        (np.array([[0, 2]], np.uint8), Scaling("bytes", 0.0, 255.0)),
        (np.array([[0, 1], [1, 1]], np.uint8), Scaling("none", 0.0, 1.0)),
        (np.array([[False, True]]), Scaling("none", 0.0, 1.0)),
        (np.array([[0.0, 1.0]]), Scaling("none", 0.0, 1.0)),
        (np.array([[0.25, 0.5]], np.float16), Scaling("none", 0.0, 1.0)),
        (np.array([[0.0, 1.5], [1.0, 0.5]]), Scaling("minmax", [0.0, 0.5], [1.0, 1.0])),
        (np.array([[-1, 0], [1, 4]]), Scaling("minmax", [-1.0, 0.0], [2.0, 4.0])),
        (np.array([[0, 200], [100, 0]], np.uint16), Scaling("minmax", [0.0, 0.0], [100.0, 200.0])),
    ],
    ids=["bytes", "dark bytes", "0/1 bytes", "booleans", "unit", "half", "above 1", "negative", "16 bits"],
)
def test_scaling_auto_follows_the_values(rows: np.ndarray, expected: Scaling) -> None:
    assert fit_scaling("auto", rows) == expected


def test_bytes_are_divided_by_255() -> None:
    rows = np.arange(256, dtype=np.uint8).reshape(-1, 2)
    assert np.array_equal(fit_scaling("auto", rows).apply(rows), (rows / 255).astype(np.float32))


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6 + 0.1, 255])
@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_a_constant_column_is_shifted_to_0_and_not_stretched(kind: str, value: float, count: int) -> None:
    rows = np.stack([np.full(count, value), np.arange(count)], 1)
    scaling = fit_scaling(kind, rows)
    assert scaling.apply(rows)[:, 0] == pytest.approx(0, abs=1e-6)
    assert scaling.apply(rows + 2)[:, 0] == pytest.approx(2, abs=1e-6)


ordinary = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("kind", ["auto", "none", "minmax", "standard"])
@given(rows=arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 4)), elements=ordinary))
@settings(deadline=None, max_examples=30)
def test_scaling_is_undone_by_multiplying_and_adding(kind: str, rows: np.ndarray) -> None:
    scaling = fit_scaling(kind, rows)
    back = scaling.apply(rows) * np.asarray(scaling.divisor) + np.asarray(scaling.offset)
    assert back == pytest.approx(rows, rel=1e-6, abs=1e-6 * max(1.0, float(np.abs(rows).max())))


@pytest.mark.parametrize("kind", ["auto", "minmax", "standard"])
def test_scaling_is_fitted_on_training_rows_only(tmp_path: Path, kind: str) -> None:
    train, other = random_rows(), random_rows(seed=1) * 100
    spec = DataSpec(
        source=saved(tmp_path / "train.npy", train),
        val=saved(tmp_path / "val.npy", other),
        test=saved(tmp_path / "test.npy", other + 5),
        scaling=kind,
    )
    dataset = load(spec, 0)
    assert dataset.scaling == fit_scaling(kind, train)
    assert np.array_equal(dataset.validation, dataset.scaling.apply(other))
    assert np.array_equal(dataset.test, dataset.scaling.apply(other + 5))
    assert float(dataset.validation.max()) > 2


# ---------------------------------------------------------------- load


def test_loading_digits_gives_scaled_rows_in_three_splits() -> None:
    dataset = load(DataSpec(), 0)
    assert {name: rows.shape for name, rows in dataset.splits.items()} == {
        "train": (1438, 64),
        "validation": (179, 64),
        "test": (180, 64),
    }
    assert all(rows.dtype == np.float32 and rows.flags.c_contiguous for rows in dataset.splits.values())
    assert dataset.row_shape == (8, 8)
    assert dataset.scaling.kind == "none"


def test_the_splits_of_a_file_hold_its_rows_once(tmp_path: Path) -> None:
    rows = random_rows(50).astype(np.float32)
    dataset = load(DataSpec(source=saved(tmp_path / "a.npy", rows), scaling="none"), 3)
    together = np.concatenate([dataset.train, dataset.validation, dataset.test])
    assert sorted(map(tuple, together)) == sorted(map(tuple, rows))


def test_given_validation_and_test_files_are_taken_whole(tmp_path: Path) -> None:
    train, other = random_rows(20), random_rows(7, seed=1)
    np.savez(tmp_path / "other.npz", first=other, second=other[:3])
    spec = DataSpec(
        source=saved(tmp_path / "train.npy", train),
        val=f"{tmp_path / 'other.npz'}:first",
        test=f"{tmp_path / 'other.npz'}:second",
        scaling="none",
    )
    dataset = load(spec, 0)
    assert np.array_equal(dataset.train, train.astype(np.float32))
    assert np.array_equal(dataset.validation, other.astype(np.float32))
    assert np.array_equal(dataset.test, other[:3].astype(np.float32))


def test_clusters_bring_their_own_validation_and_test_rows() -> None:
    dataset = load(DataSpec(source="binary-clusters:3x4x20"), 5)
    assert {len(rows) for rows in dataset.splits.values()} == {12}
    assert list(dataset.notes) == ["train_flip_rate", "validation_flip_rate", "test_flip_rate"]


def test_rows_of_standard_input_are_kept_for_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DataSpec(source="-", columns="b,c")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b,c\n" + b"1,2,3\n4,5,6\n7,8,9\n" * 5)))
    first = load(spec, 0)
    assert first.stdin is not None
    assert first.stdin.tolist() == [[2, 3], [5, 6], [8, 9]] * 5
    again = load(spec, 0, first.stdin)
    assert again.name == first.name == "stdin"
    assert again.fingerprint == first.fingerprint
    for name, rows in first.splits.items():
        assert np.array_equal(again.splits[name], rows)


def test_rows_of_a_file_are_not_kept(tmp_path: Path) -> None:
    assert load(DataSpec(source=saved(tmp_path / "a.npy", random_rows())), 0).stdin is None


def test_columns_are_taken_from_every_csv_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,x,y\n" + "p,1,2\nq,3,5\n" * 3)
    spec = DataSpec(source=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"), columns="y", scaling="none")
    dataset = load(spec, 0)
    assert dataset.row_shape == (1,)
    assert dataset.test[:, 0].tolist() == [2, 5] * 3


def test_all_rows_may_be_for_training(tmp_path: Path) -> None:
    dataset = load(DataSpec(source=saved(tmp_path / "a.npy", random_rows()), split=(1, 0, 0)), 0)
    assert list(dataset.splits) == ["train"]
    assert dataset.validation.shape == dataset.test.shape == (0, 5)


def test_so_few_rows_that_a_split_is_empty_are_enough(tmp_path: Path) -> None:
    dataset = load(DataSpec(source=saved(tmp_path / "a.npy", random_rows(4))), 0)
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 3, "validation": 1}


def test_one_training_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leaves 1 training rows; at least 2 are needed"):
        load(DataSpec(source=saved(tmp_path / "a.npy", random_rows(1))), 0)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_given_part_of_another_width_is_refused(tmp_path: Path, part: str) -> None:
    source, other = saved(tmp_path / "a.npy", random_rows()), saved(tmp_path / "b.npy", random_rows(inputs=4))
    with pytest.raises(DataError, match=r"b\.npy: its rows have shape \(4,\), those of .*a\.npy \(5,\); they must"):
        load(DataSpec(**{"source": source, part: other}), 0)


@pytest.mark.parametrize("part", ["source", "val", "test"])
def test_a_bad_value_is_found_in_whichever_file_it_lies(tmp_path: Path, part: str) -> None:
    bad = random_rows()
    bad[3, 2] = np.nan
    files = {"source": saved(tmp_path / "good.npy", random_rows())} | {part: saved(tmp_path / "bad.npy", bad)}
    with pytest.raises(DataError, match=r"bad\.npy: row 3, column 2 is nan"):
        load(DataSpec(**files), 0)


@pytest.mark.parametrize("scaling", ["auto", "none", "minmax", "standard"])
def test_rows_too_large_for_float32_are_refused_without_a_warning(tmp_path: Path, scaling: str) -> None:
    rows = random_rows()
    rows[:, 1] = np.where(np.arange(40) % 2, 1.7e308, -1.7e308)
    with pytest.raises(DataError, match=r"big\.npy: train rows overflow float32 after scaling"):
        load(DataSpec(source=saved(tmp_path / "big.npy", rows), scaling=scaling), 0)


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
    spec = DataSpec(source=saved(tmp_path / "a.npy", rows), scaling="none", split=(1, 0, 0))
    facts = load(spec, 0).facts
    assert (facts.rows, facts.inputs, facts.binary, facts.unit) == (4, 4, binary, unit)


# ---------------------------------------------------------------- fingerprint


def fingerprint(path: Path, rows: np.ndarray, seed: int = 0, **more: object) -> str:
    return load(DataSpec(**{"source": saved(path, rows), **more}), seed).fingerprint


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
    dataset = load(DataSpec(), 0)
    path = tmp_path / "digits.npz"
    write_npz(dataset, path)
    with np.load(path) as arrays_read:
        assert sorted(arrays_read.files) == ["test", "train", "validation"]
        assert arrays_read["train"].shape == (1438, 8, 8)
    spec = DataSpec(source=f"{path}:train", val=f"{path}:validation", test=f"{path}:test")
    back = load(spec, 0)
    for name, rows in dataset.splits.items():
        assert np.array_equal(back.splits[name], rows)
    assert back.row_shape == dataset.row_shape
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits.npz"]


def test_empty_splits_are_not_written(tmp_path: Path) -> None:
    dataset = load(DataSpec(split=(1, 0, 0)), 0)
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
    return Dataset("tiny", rows, rows[:0], rows[:0], (3,), Scaling("none", 0.0, 1.0), "0" * 16, {})
