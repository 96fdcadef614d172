"""Columns as inputs: against pandas.get_dummies, scikit-learn's SimpleImputer and pandas' dates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer

from aecompress.data.columns import Decision, Decisions
from aecompress.data.encoding import Encoding, fit
from aecompress.data.frames import table_of
from aecompress.data.inputs import inputs_of, rows_of
from aecompress.data.table import Table
from aecompress.errors import DataError

DRAWS = np.random.default_rng(0)
N = 60
FRAME = pd.DataFrame(
    {
        "a": DRAWS.normal(size=N),
        "kind": DRAWS.choice(["pump", "fan", "valve"], N),
        "time": pd.date_range("2023-12-20", periods=N, freq="7h"),
        "b": np.where(DRAWS.random(N) < 0.2, np.nan, DRAWS.normal(size=N)),
        "id": np.arange(N),
    }
)
TRAIN = np.arange(N) < 40


def decisions(*actions: str, missing: str = "error") -> Decisions:
    columns = tuple(Decision(name=name, action=action) for name, action in zip("abcde", actions, strict=False))
    return Decisions(columns=columns, missing=missing, notes=(), faults=(), command="")


def fitted(table: Table, *actions: str, missing: str = "error") -> Encoding:
    return fit(table, decisions(*actions, missing=missing), TRAIN[: len(table)])


def everything(missing: str = "median") -> Encoding:
    return fitted(table_of(FRAME), "keep", "one-hot", "cyclic", "keep", "leave out", missing=missing)


@pytest.mark.parametrize("missing", ["median", "mean"])
def test_inputs_are_those_of_pandas_and_scikit_learn(missing: str) -> None:
    encoding = everything(missing)
    rows = rows_of(encoding, table_of(FRAME))
    imputer = SimpleImputer(strategy=missing).fit(FRAME.loc[TRAIN, ["a", "b"]])
    dummies = pd.get_dummies(FRAME["kind"], prefix="kind", prefix_sep="=")
    filled = imputer.transform(FRAME[["a", "b"]])
    turns = {
        "hour": (FRAME["time"].dt.hour + FRAME["time"].dt.minute / 60) / 24,
        "weekday": FRAME["time"].dt.day_of_week / 7,
        "day": (FRAME["time"].dt.day_of_year - 1) / 365.25,
    }
    waves = {f"time.{part}.{f.__name__}": f(2 * np.pi * turn) for part, turn in turns.items() for f in (np.sin, np.cos)}
    expected = pd.concat([FRAME[["a"]].assign(a=filled[:, 0]), dummies, pd.DataFrame(waves)], axis=1)
    expected["b"] = filled[:, 1]
    assert encoding.inputs == tuple(expected.columns)
    np.testing.assert_allclose(rows, expected.to_numpy(float), atol=1e-9)


def test_blocks_and_single_rows_are_those_of_the_whole() -> None:
    encoding, table = everything(), table_of(FRAME)
    inputs, notes = inputs_of(encoding, table, "here")
    assert inputs.shape == (N, len(encoding.inputs)) == (len(inputs), rows_of(encoding, table).shape[1]) and not notes
    assert inputs.dtype == np.float64
    assert np.array_equal(inputs.read(7, 19), rows_of(encoding, table)[7:19])
    index = np.array([3, 3, 50])
    assert np.array_equal(inputs.take(index), rows_of(encoding, table)[index])


def test_it_is_fitted_on_training_rows_alone() -> None:
    other = FRAME.copy()
    other.loc[~TRAIN, "b"] = 1e6
    other.loc[~TRAIN, "kind"] = "unheard of"
    assert fitted(table_of(other), "keep", "one-hot", "cyclic", "keep", "leave out", missing="mean") == everything(
        "mean"
    )


def test_json_gives_it_back() -> None:
    for encoding in (everything(), fitted(table_of(FRAME[["a", "id"]]), "keep", "keep")):
        again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
        assert again == encoding and again.inputs == encoding.inputs
    with pytest.raises(DataError, match=r"config\.json: columns: is not what aecompress writes"):
        Encoding.from_json({"columns": [{"nam": 1}]})


def test_columns_are_matched_by_name_and_others_are_ignored_and_listed() -> None:
    encoding = everything()
    mixed = FRAME[["id", "b", "time", "kind", "a"]].assign(extra=1, more=2)
    inputs, notes = inputs_of(encoding, table_of(mixed), "here")
    assert np.array_equal(inputs.read(0, N), rows_of(encoding, table_of(FRAME)))
    assert notes == ("columns 'extra', 'more': not of the model, ignored",)


def test_a_table_without_names_is_matched_by_place() -> None:
    encoding = fitted(table_of(FRAME[["id", "a"]]), "leave out", "keep")
    whole = replace(table_of(FRAME[["id", "a"]]), named=False)
    alone = Table(cells=whole.cells[:, 1:], columns=whole.columns[1:], named=False)
    assert rows_of(encoding, whole).tolist() == rows_of(encoding, alone).tolist() == FRAME[["a"]].to_numpy().tolist()
    with pytest.raises(DataError, match=r"here: has 5 columns without names the model knows; it takes 1 \('a'\)"):
        inputs_of(encoding, replace(table_of(FRAME), named=False), "here")


def test_texts_that_training_rows_lack_are_zeros_and_counted() -> None:
    new = FRAME.head(4).assign(kind=["pump", "motor", "motor", "belt"])
    inputs, notes = inputs_of(everything(), table_of(new), "here")
    assert inputs.read(0, 4)[:, 1:4].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert notes == (
        "column 'kind': 3 rows with texts that training rows lack ('motor', 'belt'); all of its inputs are 0 there",
    )


def test_missing_texts_and_dates_are_zeros_and_sentinels_are_filled() -> None:
    table = table_of(FRAME.assign(a=FRAME["a"].where(FRAME.index != 3, -9999)))
    chosen = decisions("keep", "one-hot", "cyclic", "keep", "leave out", missing="median")
    chosen = replace(chosen, columns=(replace(chosen.columns[0], absent=(-9999.0,)), *chosen.columns[1:]))
    encoding = fit(table, chosen, TRAIN)
    new = FRAME.head(2).astype({"kind": object}).assign(a=[-9999, np.inf], kind=[None, "fan"], time=[pd.NaT, pd.NaT])
    row = rows_of(encoding, table_of(new))[0]
    kept = FRAME.loc[TRAIN & (FRAME.index != 3), "a"]
    assert row[0] == rows_of(encoding, table_of(new))[1, 0] == np.median(kept)
    assert row[1:10].tolist() == [0] * 9


def test_numbers_stand_for_the_texts_they_write() -> None:
    encoding = fitted(table_of({"code": ["7", "7b", "7"]}), "one-hot")
    assert rows_of(encoding, table_of({"code": [7, 8]})).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": None}, "here: lacks column 'a' of the model; it has kind, time, b, id"),
        ({"a": "x"}, "here: column 'a' holds texts, that of the model numbers; give the same columns"),
        ({"time": 3.0}, "here: column 'time' holds numbers, that of the model dates"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    (name, value), *_ = change.items()
    new = FRAME.drop(columns=name) if value is None else FRAME.assign(**{name: value})
    with pytest.raises(DataError, match=message):
        inputs_of(everything(), table_of(new), "here")


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_a_missing_cell_that_nothing_fills_is_named(missing: str) -> None:
    encoding = fitted(table_of(FRAME[["a", "kind"]]), "keep", "one-hot", missing=missing)
    new = FRAME[["a", "kind"]].copy()
    new.loc[5, "a"] = np.nan
    with pytest.raises(DataError, match="here: row 5 has no value in column 'a'; leave such rows out, or train with"):
        inputs_of(encoding, table_of(new), "here")


def test_a_column_without_a_value_in_training_rows_cannot_be_filled() -> None:
    empty = FRAME.assign(b=FRAME["b"].where(~TRAIN))
    with pytest.raises(DataError, match=r"column 'b' has no value in the training rows to fill from; leave it out"):
        fitted(table_of(empty[["a", "b"]]), "keep", "keep", missing="mean")


def test_a_plain_encoding_leaves_rows_as_they_are() -> None:
    table = table_of(FRAME[["a", "id"]])
    encoding = fitted(table, "keep", "keep")
    assert encoding.plain and encoding.inputs == ("a", "id") and np.array_equal(rows_of(encoding, table), table.cells)
    assert not everything().plain and not fitted(table, "keep", "leave out").plain
