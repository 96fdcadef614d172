"""Raw rows of files: columns that float32 cannot hold are refused by name, and what a file says of its columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aecompress.data.chosen import Chosen
from aecompress.data.raw import LONGEST, check_float32, coarse, described, described_bytes
from aecompress.data.scaling import UNSCALED, Scaling, fit_scaling
from aecompress.errors import CONTROL, DataError

COUNT = np.arange(200)
HELD = {
    "counter": 1e6 + COUNT,
    "decimal year": 2020 + COUNT / 365.25,
    "latitude": 52.5 + 0.01 * np.sin(COUNT),
    "epoch seconds in float32": (1.7e9 + 60.0 * COUNT).astype(np.float32),
    "a constant": np.full(200, 1.7e9 + 7.0),
    "epoch seconds of months": 1.7e9 + 86400.0 * COUNT,
    "small": 1e-20 * np.sin(COUNT),
}
LOST = {
    "epoch seconds": 1.7e9 + 60 * COUNT,
    "counter": 3e9 + COUNT,
    "nanoseconds": 1.7e18 + 1e9 * COUNT,
    "beyond float32": 1e300 * COUNT,
    "far below float32": 1e-300 * COUNT,
}


def refused(column: np.ndarray, kind: str = "minmax", names: tuple[str, ...] = ("a", "time")) -> str:
    """What is said of a table with this second column; empty where it is taken."""
    rows = np.stack([np.sin(COUNT), column.astype(np.float64)], 1)
    scaling = fit_scaling(kind, Chosen(rows[:150]))
    splits = {"train": scaling.apply(Chosen(rows[:150])), "test": scaling.apply(Chosen(rows[150:]))}
    try:
        check_float32("t.csv", scaling, splits, names)
    except DataError as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("name", HELD)
def test_a_column_that_float32_holds_is_taken(name: str) -> None:
    assert refused(HELD[name]) == ""
    # The mean of float32 values need not be one, and would shift all of them.
    assert name == "epoch seconds in float32" or refused(HELD[name], "standard") == ""


@pytest.mark.parametrize("name", LOST)
def test_a_column_that_float32_cannot_hold_is_refused(name: str) -> None:
    assert refused(LOST[name]).startswith("t.csv: column 1 ('time') has values from ")
    # Of values so far from 1, NumPy finds no deviation.
    assert "float32" in name or refused(LOST[name], "standard").startswith("t.csv: column 1 ('time')")


def test_the_refusal_has_values_and_cure() -> None:
    assert refused(LOST["epoch seconds"]) == (
        "t.csv: column 1 ('time') has values from 1700000000 to 1700011940, which float32 holds in steps of 128: too "
        "coarse for files that take raw rows; subtract an offset such as 1700000000 first, leave the column out "
        "(--columns), or let the files take scaled rows (--no-embed-scaling)"
    )
    assert "column 1 has values" in refused(LOST["epoch seconds"], names=())
    assert "which float32 does not hold: too coarse" in refused(LOST["beyond float32"])
    assert "; multiply it by a constant first, leave" in refused(LOST["far below float32"])


def test_a_column_that_only_other_splits_make_too_coarse_is_refused() -> None:
    column = np.where(COUNT < 150, 1.7e9, 1.7e9 + 30)
    assert "column 1 ('time')" in refused(column)


def test_of_many_columns_the_first_are_named() -> None:
    rows = np.stack([LOST["epoch seconds"]] * 9, 1)
    scaling = fit_scaling("minmax", Chosen(rows))
    with pytest.raises(DataError, match=r"column 0 has .* \(as are 1, 2, 3, 4 and more\); subtract"):
        check_float32("t.csv", scaling, {"train": scaling.apply(Chosen(rows))}, ())


def test_what_is_looked_at_is_at_least_what_rounding_moves() -> None:
    """Of columns that are not looked at, rounding moves a scaled value by a millionth at most."""
    draws = np.random.default_rng(0)
    offset, divisor = 10.0 ** draws.uniform(-6, 9, 2000), 10.0 ** draws.uniform(-6, 9, 2000)
    raw = offset + divisor * draws.random((50, 2000))
    moved = (np.abs(raw.astype(np.float32) - raw) / divisor).max(0)
    assert moved[~coarse(offset, divisor)].max() <= 1e-6 < moved[coarse(offset, divisor)].max()


def test_names_and_scaling_are_json_without_control_characters() -> None:
    names = ("a", 'quote " and \x1b[2J', "\x7f\x85\u202e", "å")
    scaling = Scaling("minmax", [0.0, 0.1, -2.5, 1e9], [1.0, 2.0, 3.0, 4.0])
    about = described(scaling, names)
    assert {key: json.loads(text) for key, text in about.items()} == {
        "aecompress.inputs": list(names),
        "aecompress.offset": scaling.offset,
        "aecompress.divisor": scaling.divisor,
    }
    assert all(text.isascii() and not CONTROL.search(text) for text in about.values())


def test_ten_thousand_columns_take_a_bounded_part_of_a_file() -> None:
    names = tuple(f"column number {index}" for index in range(10_000))
    about = described(Scaling("minmax", [0.5] * 10_000, [2.0] * 10_000), names)
    assert about["aecompress.inputs"] == about["aecompress.offset"] == "10000 values, in config.json"
    assert max(map(len, about.values())) <= LONGEST


def test_rows_that_are_taken_as_they_are_need_no_bytes() -> None:
    assert described(UNSCALED, ()) == {} and described_bytes(UNSCALED, ()) == 0
    assert UNSCALED.identity and not Scaling("bytes", 0.0, 255.0).identity
