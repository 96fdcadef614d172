"""What each input must come to: its rows, or the sentence that refuses it and the cure that then works.

Where what is right is a matter of judgement, the comment says what a user would want.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.field.inputs import (
    DAYS,
    GAP,
    IMAGES,
    KIND,
    LABEL,
    NAMES,
    NCHW,
    NHWC,
    OUTLIER,
    SHUFFLED,
    SMALL,
    U16,
    WINDOWS,
    C,
    N,
    X,
)


def cents(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as two decimals write them."""
    return np.array([[float(f"{value:.2f}") for value in row] for row in values.tolist()])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input: how it is named on the command line, and what must come of it."""

    source: str
    flags: str = ""
    """That a user gives who knows them."""
    rows: NDArray[Any] | None = None
    """Raw rows ``[N, ...]`` of all splits, training first; None: it is refused for good."""
    names: tuple[str, ...] | None = None
    """Of the inputs; None: it has none, or they are not looked at."""
    note: str = ""
    """What stderr must hold of a file that is read, possibly after its cure."""
    fault: str = ""
    """What the sentence must hold that refuses it."""
    cure: str = ""
    """Flags of the command that the refusal prints, or a source that it names: both are typed as they are printed."""
    fix: Callable[[Path], str] | None = None
    """Does by hand what the sentence says, in the folder of the file; returns the source that works then."""
    close: bool = False
    """Whether the rows are equal only to rounding of float32 after scaling."""
    stdin: bool = False
    """Whether it is piped in."""


def filled(values: NDArray[Any], how: Callable[[NDArray[Any]], Any] = np.median) -> NDArray[Any]:
    """X with its gap filled from the rest of its column."""
    result = values.copy()
    result[GAP] = how(np.delete(values[:, GAP[1]], GAP[0]))
    return result


def without(rows: NDArray[Any], *places: int) -> NDArray[Any]:
    return np.delete(rows, places, axis=0)


def ordered(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of labelled data: normal ones are trained on, anomalies are test rows."""
    return np.concatenate([rows[LABEL == 0], rows[LABEL == 1]])


def saved(name: str, values: Callable[[Path], NDArray[Any]]) -> Callable[[Path], str]:
    """A cure by hand: rows that NumPy saved."""

    def fix(folder: Path) -> str:
        np.save(folder / f"{name}.npy", values(folder))
        return f"{name}.npy"

    return fix


def edited(source: str, old: str, new: str) -> Callable[[Path], str]:
    """A cure by hand: a text file in which something was replaced."""

    def fix(folder: Path) -> str:
        (folder / f"edited-{source}").write_text((folder / source).read_text().replace(old, new))
        return f"edited-{source}"

    return fix


MEDIAN, NO_DATES = "--missing median", "--dates drop"
PLAIN: Any = {"rows": X, "names": NAMES}
UNNAMED: Any = {"rows": X}
GAPS: Any = {"rows": filled(X), "names": NAMES, "cure": MEDIAN}
MISSING: Any = GAPS | {"fault": "column 's2' has 1 missing cell"}
INDEX: Any = {"note": "and is left out"}
LABELLED: Any = {"rows": ordered(X), "names": NAMES, "fault": "looks like a label"}
COMPACT = [int(f"{day.astype(object):%Y%m%d}") for day in DAYS]
THOUSANDS = np.c_[np.trunc(X[:, 0] * 1e6), X[:, 1]]

CASES: tuple[Case, ...] = (
    # Text files that are read as they are
    Case(source="plain_header.csv", **PLAIN),
    Case(source="ROWS.CSV", **PLAIN),
    Case(source="UPPER_NOHEADER.CSV", rows=np.array([[1, 2], [3, 4], [5, 6]])),
    Case(source="semicolon.csv", **PLAIN),
    Case(source="semicolon_decimal_comma.csv", **PLAIN),
    Case(source="semicolon_noheader.csv", **UNNAMED),
    Case(source="semicolon_decimal_comma_noheader.csv", **UNNAMED),
    Case(source="one_column_decimal_comma.csv", rows=X[:, :1]),
    Case(source="pipe.csv", **PLAIN),
    Case(source="tab.csv", **PLAIN),
    Case(source="tab.tsv", **PLAIN),
    Case(source="rows.txt", **UNNAMED),
    Case(source="savetxt_space.csv", **UNNAMED),
    Case(source="savetxt_comma_hash.csv", **PLAIN),
    Case(source="aligned.txt", **UNNAMED),
    Case(source="bom_crlf.csv", **PLAIN),
    Case(source="utf16.csv", **PLAIN),
    Case(source="cp1252.csv", rows=X, names=("Temp °C", *NAMES[1:])),
    Case(source="umlauts.csv", rows=X, names=("Höhe", "Größe", "Änderung", "ß", "µ", "€")),
    Case(source="mac_cr.csv", **PLAIN),
    Case(source="trailing_comma.csv", **PLAIN),
    Case(source="trailing_lines.csv", **PLAIN),
    Case(source="quoted_numbers.csv", **PLAIN),
    Case(source="quoted_header.csv", **PLAIN),
    Case(source="thousands.csv", rows=THOUSANDS, names=("a", "b"), note="between thousands"),
    Case(source="comment_lines.csv", **PLAIN),
    Case(source="units_row.csv", **PLAIN, note="units"),
    Case(source="two_headers.csv", rows=X, note="line 2"),  # which of the lines names the columns is open; it is said
    Case(source="space_after_comma.csv", **PLAIN),
    Case(source="excel_sep.csv", **PLAIN),
    Case(source="bool.csv", rows=X > 0, names=NAMES),
    Case(source="wide.csv", rows=np.round(np.tile(X, (1, 500)), 3)),
    Case(source="duplicate_names.csv", rows=X, names=("a", "b", "a.1", "c", "d", "e")),
    Case(source="empty_names.csv", rows=X),
    Case(source="odd_names.csv", rows=X),
    Case(source="plain_header.csv", flags="--columns s1,s3", rows=X[:, [1, 3]], names=("s1", "s3")),
    Case(source="plain_header.csv", flags="--columns 0,2-3", rows=X[:, [0, 2, 3]], names=("s0", "s2", "s3")),
    # Indices, headers of numbers
    Case(source="numeric_header.csv", rows=X, names=("0", "1", "2", "3", "4", "5"), note="numbers the columns"),
    Case(source="pandas_index.csv", **PLAIN, **INDEX),
    Case(source="pandas_index_4.csv", rows=X[:, :4], names=("a", "b", "c", "d"), **INDEX),
    Case(source="pandas_index_numeric_header.csv", rows=X, names=("0", "1", "2", "3", "4", "5"), **INDEX),
    Case(source="index_from_1.csv", **PLAIN, **INDEX),
    Case(source="index_last.csv", **PLAIN, **INDEX),
    Case(source="r_index.csv", **PLAIN, **INDEX),
    # Dates: a user wants to be asked, because both answers are usual
    Case(source="dates.csv", **PLAIN, fault="'timestamp' holds dates", cure=NO_DATES),
    Case(source="dates_german.csv", **PLAIN, fault="'Datum' holds dates", cure=NO_DATES),
    Case(source="dates_iso_z.csv", **PLAIN, fault="'time' holds dates", cure=NO_DATES),
    Case(source="dates_us.csv", **PLAIN, fault="'Date' holds dates", cure=NO_DATES),
    Case(
        source="epoch_seconds.csv",
        rows=np.c_[1704067200 + 60 * np.arange(N), X],
        names=("timestamp", *NAMES),
        note="rises by 60",
        close=True,
    ),
    Case(
        source="epoch_millis.csv",
        rows=np.c_[1704067200000 + 60000 * np.arange(N), X],
        names=("ts", *NAMES),
        note="rises by 60000",
        close=True,
    ),
    Case(source="embed_scaling_lost.csv", rows=np.c_[1.7e9 + 60 * np.arange(N), X], note="rises by 60", close=True),
    # Texts
    Case(
        source="categorical.csv",
        rows=np.c_[X, ~KIND, KIND],
        names=(*NAMES, "kind=fan", "kind=pump"),
        note="an input for each text",
    ),
    Case(source="categorical.csv", flags="--categories drop", **PLAIN),
    Case(source="free_text.csv", **PLAIN, fault="has 40 different texts", cure="--categories drop"),
    # Missing cells, and what stands for them
    Case(source="missing_empty.csv", **MISSING),
    Case(source="missing_nan.csv", **MISSING),
    Case(source="missing_na.csv", **MISSING),
    Case(source="missing_question.csv", **MISSING),
    Case(source="missing_null.csv", **MISSING),
    Case(source="missing_dash.csv", **MISSING),
    Case(source="missing_empty.csv", flags="--missing drop", rows=without(X, GAP[0]), names=NAMES),
    Case(source="missing_empty.csv", flags="--missing mean", rows=filled(X, np.mean), names=NAMES),
    Case(source="missing_sentinel.csv", **GAPS, fault="'s2' holds -9999"),
    Case(source="missing_sentinel_999.csv", **GAPS, fault="'s2' holds 999"),
    Case(source="nan.npy", rows=filled(X), fault="missing", cure=MEDIAN),
    Case(
        source="inf.csv",
        fault="infinite value",
        cure=MEDIAN,
        names=NAMES,
        rows=np.vstack([X, [np.median(X[:, 0]), 1, 1, 1, 1, 1]]),
    ),
    # A text where a number belongs is no missing value: the row is left out, not filled
    Case(
        source="mixed_types.csv",
        rows=without(X, GAP[0]),
        names=NAMES,
        fault="'abc'",
        cure="--missing drop",
    ),
    Case(source="footer_total.csv", **PLAIN, fault="'Total'", cure="--missing drop"),
    Case(source="nul_bytes.csv", **PLAIN, fault="is not text", fix=edited("nul_bytes.csv", "\0", "")),
    Case(source="percent.csv", rows=cents(X), names=NAMES),
    Case(source="currency.csv", rows=cents(np.abs(X)), names=NAMES),
    # Labels
    Case(source="label_last.csv", **LABELLED, cure="--label label"),
    Case(source="label_text.csv", **LABELLED, cure="--label class"),
    Case(source="label_attack.csv", **LABELLED, cure="--label is_anomaly"),
    Case(source="label_classes.csv", **PLAIN, fault="several classes", cure="--columns s0,s1,s2,s3,s4,s5"),
    # Numbers that scaling must cope with
    Case(source="constant.csv", rows=np.c_[X, np.full(N, 7), np.zeros(N)], note="'const' and 'zero'"),
    Case(source="constant.csv", flags="--columns const,s0", rows=np.c_[np.full(N, 7), X[:, 0]]),
    Case(source="one_outlier.csv", note="far outside", rows=OUTLIER),
    Case(source="huge.csv", rows=np.c_[X, 1e12 + 1e3 * SHUFFLED], close=True),
    Case(source="beyond_f32.csv", rows=np.c_[X, 1e39 * (SHUFFLED + 1)], close=True),
    # Damaged, or nothing
    Case(
        source="ragged.csv",
        rows=X,
        fault="line 8 has 7 cells, the first line 6",
        fix=edited("ragged.csv", ",1\n", "\n"),
    ),
    Case(source="empty.csv", fault="has no rows"),
    Case(source="header_only.csv", fault="has a header and no rows"),
    Case(source="html.csv", fault="HTML"),
    Case(source="lfs.npy", fault="git lfs pull"),
    Case(source="two_rows.csv", rows=X[:2], note="2 in all"),
    # Compressed
    Case(source="rows.csv.gz", **PLAIN),
    Case(source="rows.csv.bz2", **PLAIN),
    Case(source="rows.csv.xz", **PLAIN),
    Case(source="rows.csv.zst", **PLAIN),
    Case(source="rows.csv.zip", **PLAIN),
    Case(source="rows.npy.gz", **UNNAMED),
    # Tables of other programs
    Case(source="rows.parquet", **PLAIN),
    Case(source="rows.feather", **PLAIN),
    Case(source="hf", **PLAIN),
    Case(source="rows.jsonl", **PLAIN),
    Case(source="rows.json", **PLAIN),
    Case(source="columns.json", fault="pandas"),
    Case(source="rows.pkl", fault="pickle, which may run any code"),
    Case(source="rows.arff", fault="convert it"),
    Case(source="rows.libsvm", fault="convert it"),
    # Arrays
    Case(source="f64.npy", **UNNAMED),
    Case(source="f16.npy", rows=X.astype(np.float16)),
    Case(source="i64.npy", rows=(X * 100).astype(int)),
    Case(source="i8.npy", rows=(X * 10).astype(int)),
    Case(source="bool.npy", rows=X > 0),
    Case(source="u16.npy", rows=U16),
    Case(source="u8_small.npy", rows=SMALL, note="not divided by 255"),
    Case(source="fortran.npy", **UNNAMED),
    Case(source="bigendian.npy", **UNNAMED),
    Case(source="windows_ntc.npy", rows=WINDOWS),
    Case(source="images_nhwc.npy", rows=NHWC),
    Case(source="images_nchw.npy", rows=NCHW),
    Case(source="transposed.npy", rows=X.T, note="fewer rows than inputs"),
    Case(source="series_1d.npy", fault="of a series, --window makes them"),
    Case(source="series_1d.npy", flags="--window 4", rows=np.lib.stride_tricks.sliding_window_view(X[:, 0], 4)),
    Case(source="structured.npy", rows=X[:, :2].astype(np.float32), names=("a", "b")),
    Case(
        source="complex.npy",
        fault="complex64",
        rows=np.c_[X, 0 * X],
        fix=saved("parts", lambda folder: np.c_[np.load(folder / "complex.npy").real, 0 * X]),
    ),
    Case(source="object.npy", fault="save plain numbers", fix=saved("plain", lambda folder: X), rows=X),
    Case(
        source="texts.npy",
        fault="convert them to numbers",
        rows=np.full((9, 2), [1.5, 2.5]),
        fix=saved("numbers", lambda folder: np.load(folder / "texts.npy").astype(float)),
    ),
    Case(
        source="datetime.npy",
        fault="datetime64[D]",
        rows=19723 + np.arange(N)[:, None],
        fix=saved("days", lambda folder: np.load(folder / "datetime.npy").astype(int)),
    ),
    Case(source="one.npz", **UNNAMED),
    Case(source="mnist_like.npz", rows=IMAGES, fault="holds x_train", cure="mnist_like.npz:x_train"),
    Case(source="sparse.npz", rows=X > 1),
    Case(source="tensor.pt", **UNNAMED),
    Case(source="rows.safetensors", **UNNAMED),
    Case(source="rows.h5", **UNNAMED),
    Case(source="rows.mat", rows=X, fault="X", cure="rows.mat:X"),
    Case(source="train-images-idx3-ubyte", rows=IMAGES),
    Case(source="train-images-idx3-ubyte.gz", rows=IMAGES),
    Case(source="imgs", rows=IMAGES[:4]),
    Case(source="raw.dat", rows=X, fault="is a raw file", cure=f"raw.dat:float32,{C}"),
    Case(source="appended.npy", rows=X[:30]),
    # Several files
    Case(source="many", **UNNAMED),
    Case(source="many/*.npy", **UNNAMED),
    Case(source="csvs", **PLAIN),
    Case(source="csvs/part*.csv", **PLAIN),
    Case(source="unlike", fault="unlike/b.npy"),
    # Standard input
    Case(source="plain_header.csv", stdin=True, **PLAIN),
    Case(source="semicolon_decimal_comma.csv", stdin=True, **PLAIN),
    Case(source="rows.parquet", stdin=True, **PLAIN),
    Case(source="rows.csv.bz2", stdin=True, **PLAIN),
    Case(source="f64.npy", stdin=True, **UNNAMED),
    Case(source="appended.npy", stdin=True, rows=X[:30]),
    # Of kinds that were not among those of the issue
    Case(source="r_write_table.txt", **PLAIN, **INDEX),
    Case(source="r_write_table.csv", **PLAIN, **INDEX),
    Case(source="short_thousands.csv", rows=np.c_[1000 + 7 * np.arange(N), X[:, 1]], note="between thousands"),
    Case(source="label_pass_fail.csv", **PLAIN, fault="looks like a label", cure="--columns s0,s1,s2,s3,s4,s5"),
    Case(source="label_outcome.csv", **LABELLED, cure="--label Outcome"),
    Case(source="label_status.csv", **LABELLED, cure="--label machine_status"),
    Case(source="header_inf.csv", rows=X[:, :3], names=("a", "inf", "b")),
    Case(source="header_1n.csv", rows=X, names=("1", "2", "3", "4", "5", "6")),
    Case(
        source="header_years.csv",
        rows=X,
        names=("2019", "2020", "2021", "2022", "2023", "2024"),
    ),
    Case(
        source="header_dates.csv",
        rows=X,
        names=tuple(f"2024-01-0{day}" for day in range(1, 7)),
    ),
    Case(source="noheader_ints.csv", rows=np.arange(60).reshape(20, 3) * 7 % 11),
    Case(source="swat.csv", **LABELLED, cure="--label Normal/Attack"),
    Case(source="kdd.csv", rows=X, fault="looks like a label", cure="--columns 0-5"),  # a column without name
    Case(source="iris.csv", **PLAIN, fault="several classes", cure="--columns s0,s1,s2,s3,s4,s5"),
    Case(source="creditcard.csv", rows=ordered(X), fault="'Class' looks like a label", cure="--label Class"),
    Case(source="label_minus_1.csv", **PLAIN, fault="looks like a label", cure="--columns s0,s1,s2,s3,s4,s5"),
    Case(source="yes_no.csv", rows=np.c_[X, ~KIND, KIND], names=(*NAMES, "door_open=no", "door_open=yes")),
    Case(source="ids.csv", **PLAIN, fault="40 different texts", cure="--categories drop"),
    Case(source="dates_am_pm.csv", **PLAIN, fault="holds dates", cure=NO_DATES),
    Case(source="dates_offset.csv", **PLAIN, fault="holds dates", cure=NO_DATES),
    Case(source="dates_month.csv", **PLAIN, fault="holds dates", cure=NO_DATES),
    # Days as numbers jump from month to month; they are kept as a number, and that is said
    Case(source="dates_compact.csv", note="'date' never falls", close=True, rows=np.c_[COMPACT, X]),
    Case(source="missing_dot.csv", **GAPS, fault="1 missing cell"),
    Case(source="missing_backslash.csv", **GAPS, fault="1 missing cell"),
    Case(source="missing_excel.csv", **GAPS, fault="1 missing cell"),
    Case(source="missing_sentinel_1e20.csv", **GAPS, fault="holds 1e+20"),
    Case(source="empty_column.csv", **PLAIN, note="has no values and is left out"),
    Case(source="constant_text.csv", **PLAIN, note="has one text in all rows and is left out"),
    Case(source="title.csv", **PLAIN, note="line 1"),
    Case(source="titles.csv", **PLAIN, note="lines 1 to"),
    Case(source="footer_comment.csv", **PLAIN),
    Case(source="footer_text.csv", **PLAIN, fault="line 42", fix=edited("footer_text.csv", "exported 40 rows\n", "")),
    Case(source="single_quotes.csv", rows=X[:, :2], names=("a", "b")),
    Case(source="newline_in_header.csv", rows=X[:, :2]),
    Case(source="thousand_points.csv", rows=np.c_[np.trunc(np.abs(X[:, 0]) * 1e6), X[:, 1]], note="between thousands"),
    Case(
        source="thousand_spaces.csv",
        rows=np.c_[np.trunc(np.abs(X[:, 0]) * 1e6), X[:, 1]],
        note="between thousands",
    ),
    Case(source="plus.csv", **PLAIN),
    Case(source="fortran_d.csv", **PLAIN),
    Case(source="unicode_minus.csv", **PLAIN),
    Case(source="blank_lines.csv", **PLAIN),
    Case(source="no_final_newline.csv", **PLAIN),
    Case(source="tabs_after_commas.csv", **PLAIN),
    Case(source="trailing_spaces.csv", **PLAIN),
    Case(source="units_brackets.csv", rows=X, names=("p", "T", "q", "a", "b", "c"), note="units"),
    Case(source="text.dat", **PLAIN),
    Case(source="text.log", **PLAIN),
    Case(source="text.tab", **PLAIN),
    Case(source="without_ending", **PLAIN),
    Case(source="text.npy", **PLAIN),
    Case(source="utf16_no_mark.csv", **PLAIN),
    Case(source="semicolon_mark.csv", **PLAIN),
    Case(source="ROWS.CSV.GZ", **PLAIN),
    Case(source="array.csv", **UNNAMED),
    Case(source="sentinel.npy", note="-9999", rows=np.where(np.eye(N, C) > 0, -9999, X)),
    Case(source="scalar.npy", fault="has shape ()"),
    Case(source="no_rows.npy", fault="no values"),
    Case(source="long_double.npy", **UNNAMED),
    Case(source="many/part0.npy many/part1.npy", rows=X[:24]),
    Case(source="csvs/part0.csv csvs/part1.csv", **PLAIN),
)
