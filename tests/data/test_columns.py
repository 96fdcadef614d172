"""What is decided about the columns of tables as people have them, and what is advised where one cannot be used."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aecompress.data.base import Request
from aecompress.data.columns import Decisions, check, decide
from aecompress.data.frames import table_of
from aecompress.data.profile import profile
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.flags import FLAGS

DRAWS = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(DRAWS.normal(size=(N, 3)), columns=["s0", "s1", "s2"])
NAMES = [f"name {number}" for number in range(N)]


def decided(frame: pd.DataFrame, **request: Any) -> Decisions:
    table = table_of(frame)
    return decide(table, profile(table), Request(**{"source": "rows.csv", **request}))


def actions(decisions: Decisions) -> list[str]:
    return [column.action for column in decisions.columns]


def changed(**values: Any) -> pd.DataFrame:
    """Return the frame with columns added, or single cells set: ``s0={5: nan}``."""
    frame = FRAME.copy()
    for name, value in values.items():
        if isinstance(value, dict):
            for row, cell in value.items():
                frame.loc[row, name] = cell
        else:
            frame[name] = value
    return frame


DATES = pd.date_range("2024-01-01", periods=N, freq="min")
KINDS = np.where(np.arange(N) % 3 == 0, "pump", "fan")
LABEL = (np.arange(N) % 10 == 0).astype(int)


def test_a_tidy_table_is_kept_without_a_word() -> None:
    decisions = decided(FRAME)
    assert actions(decisions) == ["keep"] * 3
    assert decisions.notes == decisions.faults == ()
    assert decisions.command == "aecompress prune rows.csv"


@pytest.mark.parametrize(
    ("frame", "request_", "action", "note"),
    [
        (
            changed(Index=range(N)),
            {},
            "leave out",
            "column 'Index' numbers the rows from 0 and is left out; --columns k",
        ),
        (
            changed(Index=range(N)),
            {"columns": "s0,s1,s2,Index"},
            "keep",
            "column 'Index' numbers the rows, and is an i",
        ),
        (changed(x=np.nan), {}, "leave out", "column 'x' has no values and is left out"),
        (changed(x=7.0), {}, "keep", "column 'x' has one value in all rows and is kept"),
        (changed(x="V"), {}, "leave out", "column 'x' has one text in all rows and is left out"),
        (
            changed(x=np.arange(N) * 60 + 1704067200),
            {},
            "keep",
            "column 'x' rises by 60 from row to row and is kept as an",
        ),
        (changed(x=DATES), {"dates": "drop"}, "leave out", "column 'x' holds dates and is left out"),
        (changed(x=DATES), {"dates": "cyclic"}, "cyclic", "column 'x' is replaced by sine and cosine of time of day"),
        (changed(x=KINDS), {}, "one-hot", "column 'x': an input for each text, 1 where a row has it"),
        (changed(x=KINDS), {"categories": "drop"}, "leave out", "column 'x' holds texts and is left out"),
        (changed(x=NAMES), {"categories": "drop"}, "leave out", "column 'x' holds texts and is left out"),
        (
            changed(label=LABEL),
            {"label": "label"},
            "label",
            "column 'label' calls 20 of 200 rows anomalies and is no inp",
        ),
        (
            changed(label=LABEL),
            {"columns": "s0,s1,s2,label"},
            "keep",
            "column 'label' looks like a label and is an input",
        ),
        (changed(x=KINDS), {"split_by": "group:x"}, "group", "column 'x' splits the rows and is no input"),
    ],
)
def test_what_is_done_with_a_column_is_reported(frame: pd.DataFrame, request_: Any, action: str, note: str) -> None:
    decisions = decided(frame, **request_)
    assert decisions.faults == ()
    assert actions(decisions) == ["keep"] * 3 + [action]
    assert len(decisions.notes) == 1 and decisions.notes[0].startswith(note)


def test_an_outlier_is_reported_and_kept() -> None:
    decisions = decided(changed(s0={3: 1e6}))
    assert decisions.faults == () and actions(decisions) == ["keep"] * 3
    assert decisions.notes[0].startswith("column 's0' has 1 value far outside the others' range")


@pytest.mark.parametrize("missing", ["drop", "median", "mean"])
def test_values_that_stand_for_a_missing_one_are_missing_where_these_are_treated(missing: str) -> None:
    decisions = decided(changed(s2={5: -9999.0}), missing=missing)
    assert decisions.faults == () and decisions.columns[2].absent == (-9999.0,)
    assert decisions.notes == ("column 's2' holds -9999, which is treated as missing",)
    named = decided(changed(s2={5: -9999.0}), columns="s0,s1,s2")
    assert named.faults == () and named.columns[2].absent == ()
    assert named.notes == ("column 's2' holds -9999, which is kept as a number",)


MANY = "column 'x' has 200 different texts, such as 'name 0', and at most 32 become inputs"
FAULTS = [
    (changed(x=DATES), {}, "column 'x' holds dates; --dates drop leaves it out", "--dates drop"),
    (
        changed(x=NAMES),
        {},
        MANY,
        "--categories drop",
    ),
    (
        changed(x=NAMES, kind=KINDS),
        {},
        MANY,
        "--columns s0,s1,s2,kind",
    ),
    (changed(x=KINDS), {"categories": "error"}, "column 'x' holds texts (pump, fan); --cat", "--categories one-hot"),
    (changed(label=LABEL), {}, "column 'label' looks like a label; --label label keeps it out", "--label label"),
    (changed(y=NAMES, species=KINDS), {"categories": "drop"}, "column 'species' looks like a label of several", None),
    (changed(s2={5: np.nan}), {}, "column 's2' has 1 missing cell; --missing drop leaves", "--missing median"),
    (changed(s2={5: np.inf}), {}, "column 's2' holds 1 infinite value; --missing drop, median", "--missing median"),
    (changed(s2={5: -9999.0}), {}, "column 's2' holds -9999, which usually means a missing", "--missing median"),
    (FRAME, {"label": "bad"}, "has no column 'bad' (--label); it has s0, s1, s2", ""),
    (changed(label=LABEL), {"label": "bad"}, "column 'label' looks like a label", "--label label"),
    (changed(x=KINDS), {"label": "x"}, "column 'x' (--label) holds 'pump', 'fan', so no row is normal", ""),
    (changed(x=np.nan), {"label": "x"}, "column 'x' (--label) has no values; a label is 0 and 1", ""),
    (FRAME, {"label": "s0"}, "column 's0' (--label) holds [", ""),
    (changed(x=DATES), {"label": "x"}, "column 'x' (--label) holds dates", "--dates drop"),
    (
        changed(label=np.where(np.arange(N) == 5, np.nan, LABEL)),
        {"label": "label"},
        "column 'label' (--label) is missing in 1 row; --missing drop leaves these out",
        "--label label --missing drop",
    ),
    (
        changed(label=LABEL),
        {"label": "label", "labels": "l.npy"},
        "--label and --labels both say which",
        "--label label",
    ),
    (FRAME, {"split_by": "group:x"}, "has no column 'x' (--split-by); it has s0, s1, s2", "--split-by random"),
    (
        changed(s2=dict.fromkeys(range(150), np.nan)),
        {},
        "column 's2' has no value in 150 rows",
        "--columns s0,s1",
    ),
    (DATES.to_frame(name="t").reset_index(drop=True), {}, "column 't' holds dates; --dates drop", "--dates cyclic"),
]


@pytest.mark.parametrize(("frame", "request_", "fault", "flags"), FAULTS)
def test_each_fault_is_a_sentence_and_the_command_cures_it(
    frame: pd.DataFrame, request_: Any, fault: str, flags: str | None
) -> None:
    decisions = decided(frame, **request_)
    assert decisions.faults[0].startswith(fault)
    if flags is not None:
        assert decisions.command == f"aecompress prune rows.csv {flags}".rstrip()
        assert again(frame, decisions.command).faults == ()


def again(frame: pd.DataFrame, command: str) -> Decisions:
    """Decide about a frame as a command line would."""
    words = shlex.split(command)[3:]
    fields = {flag.flag: flag.field.removeprefix("data.") for flag in FLAGS}
    given = {fields[flag]: value for flag, value in zip(words[::2], words[1::2], strict=True)}
    if names := given.get("columns", ""):
        extra = [given[name] for name in ("label",) if name in given]
        frame = frame[[*names.split(","), *extra]]
    return decided(frame, **given)


def test_all_faults_are_one_error_with_a_command_that_works() -> None:
    frame = changed(time=DATES, name=NAMES, kind=KINDS, label=LABEL, s0={7: np.nan}, s1={9: np.nan, 10: np.nan})
    frame.insert(0, "Index", range(N))
    decisions = decided(frame, seed=3)
    with pytest.raises(DataError) as fault:
        check("rows.csv", decisions)
    lines = str(fault.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["rows.csv"] * 4 + ["this works"]
    assert "columns 's0' and 's1' have 3 missing cells; --missing drop" in lines[3]
    assert lines[-1] == (
        "this works: aecompress prune rows.csv --dates drop --label label --columns s0,s1,s2,time,kind --missing median"
    )
    assert again(frame, decisions.command).faults == ()
    assert actions(again(frame, decisions.command)) == ["keep", "keep", "keep", "leave out", "one-hot", "label"]


def test_a_table_of_many_columns_is_advised_by_number() -> None:
    wide = pd.DataFrame(DRAWS.normal(size=(N, 60))).add_prefix("a")
    wide["a7"] = NAMES
    wide["a30"] = KINDS
    assert decided(wide).command == "aecompress prune rows.csv --columns 0-6,8-59"
    wide.loc[:40, :] = np.nan
    assert len("\n".join(decided(wide).faults)) < 1000


def test_an_unread_cell_is_shown() -> None:
    table = table_of(changed(s2={5: np.nan}))
    columns = (*table.columns[:2], replace(table.columns[2], unread=1, example="line 7 is 'abc'"))
    table = Table(cells=table.cells, columns=columns)
    decisions = decide(table, profile(table), Request(source="rows.csv"))
    (fault,) = decisions.faults
    assert fault.startswith(
        "column 's2' has 1 cell without a number (line 7 is 'abc'); --missing drop leaves such rows"
    )
    assert decisions.command == "aecompress prune rows.csv --missing drop"


@pytest.mark.parametrize("request_", [{}, {"categories": "drop"}])
def test_no_command_is_advised_where_no_input_would_be_left(request_: Any) -> None:
    decisions = decided(pd.DataFrame({"a": NAMES, "b": NAMES}), **request_)
    assert decisions.faults[-1].startswith("no column of numbers is left as an input") and decisions.command == ""


def test_flags_that_were_given_are_kept_in_the_command() -> None:
    frame = changed(x=DATES)
    decisions = decided(frame, source="a b.csv", split=(0.6, 0.2, 0.2), scaling="standard", test="t.csv")
    assert decisions.command == (
        "aecompress prune 'a b.csv' --split 0.6,0.2,0.2 --test t.csv --scaling standard --dates drop"
    )
