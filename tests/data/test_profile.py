"""What a column is called: the kinds that people have, and ordinary measurements that are none of them."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from aecompress.data.profile import cell_text, date_text, plain, profile
from aecompress.data.table import Column, Profile, Table

N = 200
RNG = np.random.default_rng(27)


def table(named: bool = True, **columns: object) -> Table:
    """A table of columns by name: numbers, or texts."""
    cells, about = [], []
    for name, values in columns.items():
        values = np.asarray(values)
        if values.dtype.kind == "U":
            texts = tuple(dict.fromkeys(values.tolist()))
            about.append(Column(name=name, holds="text", texts=texts))
            cells.append([float(texts.index(value)) for value in values])
        else:
            about.append(Column(name=name))
            cells.append(values.astype(float))
    return Table(cells=np.array(cells).T, columns=tuple(about), named=named)


def beside(name: str, values: object) -> Profile:
    """The profile of a column that stands after one of measurements."""
    return profile(table(s0=RNG.normal(size=len(np.asarray(values))), **{name: values}))[1]


KINDS: list[tuple[str, str, object, str]] = [
    ("index", "n", np.arange(N), "numbers the rows from 0"),
    ("index", "n", np.arange(N) + 1, "numbers the rows from 1"),
    ("index", "id", RNG.permutation(N) * 3 + 5000, "has a different whole number in each row and a name of indices"),
    ("counter", "n", np.arange(N) + 2, "rises by 1 from row to row"),
    ("counter", "t", np.round(np.arange(N) / 30, 3), "rises by 0.0333317 from row to row"),
    ("counter", "stamp", 1.7e9 + 60 * np.arange(N), "rises by 60 from row to row"),
    ("counter", "Time", np.sort(RNG.integers(0, 90, N)), "never falls and has a name of times"),
    (
        "counter",
        "seq",
        np.delete(np.arange(N + 9), [5, 7, 40, 41, 90, 91, 92, 150, 170]),
        "rises in equal steps with gaps",
    ),
    ("constant", "c", np.full(N, 7.0), "is 7 wherever it has a value"),
    ("constant", "c", np.where(np.arange(N) % 3 == 0, np.nan, 7.0), "is 7 wherever it has a value"),
    ("empty", "c", np.full(N, np.nan), "has no values"),
    ("boolean", "on", RNG.integers(0, 2, N), "is 0 or 1"),
    ("label", "Is Anomaly", RNG.integers(0, 2, N), "is 0 or 1 and has a name of labels"),
    ("label", "isAnomaly", np.where(RNG.random(N) > 0.5, "yes", "no"), "has 2 texts and a name of labels"),
    ("label", "class", RNG.integers(1, 4, N), "has 3 values and a name of labels"),
    ("label", "y", RNG.integers(0, 2, N), "is 0 or 1 and has a name of labels"),
    (
        *("label", "Normal/Attack", np.where(RNG.random(N) > 0.9, "Attack", "Normal")),
        "has 2 texts that name normal rows and anomalies",
    ),
    (
        *("label", "", np.where(RNG.random(N) > 0.9, "smurf.", "normal.")),
        "has 2 texts that name normal rows and anomalies",
    ),
    ("category", "level", RNG.choice(["low", "normal", "high"], N), "has 3 texts"),
    ("category", "kind", np.where(RNG.random(N) > 0.5, "pump", "fan"), "has 2 texts"),
    ("text", "note", np.array([f"note {row}" for row in range(N)]), f"has {N} texts"),
    ("number", "target", RNG.normal(size=N), ""),
    ("number", "y", RNG.integers(0, 9, N), ""),
    ("number", "id", RNG.integers(0, 50, N), ""),
    ("number", "time", RNG.gamma(2, size=N), ""),
    ("number", "odometer", np.cumsum(RNG.gamma(2, size=N)), ""),
    ("number", "level", -np.arange(N), ""),
    ("number", "n", np.where(np.arange(N) == 9, np.nan, np.arange(N)), ""),
]


@pytest.mark.parametrize(("kind", "name", "values", "why"), KINDS, ids=lambda value: str(value)[:20])
def test_a_column_gets_its_kind(kind: str, name: str, values: object, why: str) -> None:
    found = beside(name, values)
    assert (found.kind, found.why) == (kind, why)


def test_dates_and_booleans_keep_the_kind_that_they_were_read_as() -> None:
    cells = np.column_stack([1.7e9 + 60.0 * np.arange(N), RNG.integers(0, 2, (N, 2)), RNG.normal(size=N)])
    columns = (
        Column(name="time", holds="date"),
        *(Column(name=name, holds="boolean") for name in ("on", "fault")),
        Column(name="s0"),
    )
    assert [one.kind for one in profile(Table(cells=cells, columns=columns))] == ["date", "boolean", "label", "number"]


MEASURED: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda r, n: r.normal(size=n),
    "one decimal": lambda r, n: np.round(20 + 5 * r.normal(size=n), 1),
    "counts": lambda r, n: r.poisson(3, n).astype(float),
    "bytes": lambda r, n: r.integers(0, 256, n).astype(float),
    "twelve bits": lambda r, n: r.integers(0, 4096, n).astype(float),
    "up to 9999": lambda r, n: np.r_[r.integers(-9999, 10000, n - 2), -9999, 9999].astype(float),
    "up to 999": lambda r, n: np.r_[r.integers(0, 1000, n - 2), 999, 999].astype(float),
    "walk": lambda r, n: np.cumsum(r.normal(size=n)),
    "rising walk": lambda r, n: np.cumsum(r.exponential(size=n)),
    "rising whole walk": lambda r, n: np.cumsum(r.poisson(4, n)).astype(float),
    "sine": lambda r, n: np.sin(np.arange(n) / 7 + r.random()),
    "signs": lambda r, n: r.choice([-1.0, 1.0], n),
    "-1, 0, 1": lambda r, n: r.choice([-1.0, 0.0, 1.0], n),
    "from -1": lambda r, n: r.integers(-1, 40, n).astype(float),
    "prices": lambda r, n: np.r_[r.choice([19.0, 29, 49, 99, 149, 199, 249, 299, 399], n - 1), 999.0],
    "saturated": lambda r, n: np.minimum(np.exp(r.normal(size=n) * 2), 99.0) * 101,
    "long tail": lambda r, n: r.lognormal(3, 2, n),
    "huge": lambda r, n: r.normal(size=n) * 1e30,
    "small": lambda r, n: r.normal(size=n) * 1e-30,
}


@pytest.mark.parametrize("name", MEASURED)
def test_an_ordinary_measurement_is_a_number_without_sentinels(name: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(20, 400))
        for named in ("value", "target", "id", "t"):
            if named == "target" and name in ("signs", "-1, 0, 1", "counts", "prices"):
                continue  # few whole numbers under a name of labels are a label
            if named == "t" and name.startswith("rising"):
                continue  # what never falls under a name of times counts time
            values = MEASURED[name](rng, rows)
            found = profile(table(**{"s0": rng.normal(size=rows), named: values}))[1]
            if named == "id" and found.kind == "index":
                assert len(np.unique(values)) == rows and (values == np.floor(values)).all()
            else:
                assert (found.kind, found.sentinels) == ("number", ()), (seed, named, found)


def test_all_columns_in_equal_steps_are_data() -> None:
    cells = np.arange(60.0).reshape(20, 3)
    columns = tuple(Column(name=name) for name in "abc")
    assert {one.kind for one in profile(Table(cells=cells, columns=columns))} == {"number"}
    assert profile(table(a=np.arange(20)))[0].kind == "number"


def test_an_unnamed_first_column_of_whole_numbers_is_an_index() -> None:
    for numbers in (np.arange(4), RNG.permutation(30), np.r_[np.arange(15), np.arange(15)]):
        for name in ("", "Unnamed: 0"):
            kinds = [one.kind for one in profile(table(**{name: numbers, "s0": RNG.normal(size=len(numbers))}))]
            assert kinds == ["index", "number"]
    bare = Table(cells=np.column_stack([RNG.permutation(30), RNG.normal(size=30)]), columns=(Column(name=""),) * 2)
    assert profile(bare)[0].kind == "number"


SENTINELS: list[tuple[float, int, bool]] = [
    (-9999.0, 1, True),
    (-999.0, 3, True),
    (1e30, 1, True),
    (float(np.float32(1e30)), 2, True),
    (-1.0, 1, False),
    (-1.0, 5, True),
    (99999.0, 1, True),
    (-1234.0, 5, False),
]


@pytest.mark.parametrize(("value", "often", "named"), SENTINELS)
def test_a_sentinel_is_named_where_it_stands_apart(value: float, often: int, named: bool) -> None:
    values = 50 + RNG.random(N)
    values[:often] = value
    found = beside("pressure", values)
    assert found.sentinels == ((value,) if named else ())
    assert found.outliers == (0 if named else often)


def test_several_sentinels_hide_neither_each_other_nor_the_outliers() -> None:
    values = RNG.normal(size=1000)
    values[:400] = -9999
    values[400:403] = -999
    values[403] = 1e6
    found = beside("v", values)
    assert found.sentinels == (-9999.0, -999.0) and found.outliers == 1


def test_counts_are_those_of_numpy() -> None:
    values = np.r_[RNG.standard_t(2, 997), np.nan, np.inf, -np.inf]
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.25, 0.75], method="nearest")
    found = beside("v", values)
    assert (found.missing, found.infinite, found.distinct) == (1, 2, 999)
    assert (found.low, found.high) == (finite.min(), finite.max())
    assert found.outliers == np.count_nonzero(np.abs(finite - (low + high) / 2) > 3.5 * (high - low))


def test_a_table_may_have_no_rows_or_no_values() -> None:
    none = Table(cells=np.empty((0, 2)), columns=(Column(name="a"), Column(name="b", holds="text")))
    assert [one.kind for one in profile(none)] == ["empty", "empty"]
    assert math.isnan(profile(none)[0].low)
    assert profile(Table(cells=np.empty((3, 0)), columns=())) == ()


def test_cells_are_written_as_people_write_them() -> None:
    assert cell_text(Column(name=""), 0.1) == "0.1" and cell_text(Column(name=""), math.nan) == ""
    assert cell_text(Column(name="", holds="text", texts=("a", "b")), 1.0) == "b"
    assert cell_text(Column(name="", holds="boolean"), 1.0) == "true"
    assert date_text(1704067200) == "2024-01-01" and date_text(1704067260.5) == "2024-01-01 00:01:00.500"
    assert date_text(1704090600) == "2024-01-01 06:30" and date_text(-1) == "1969-12-31 23:59:59"
    assert date_text(1e300) == "1e+300"


def test_names_are_compared_without_case_and_punctuation() -> None:
    assert [plain(name) for name in ("Is Anomaly", "isAnomaly", " is-anomaly ", "IS_ANOMALY", "Unnamed: 0")] == [
        *["is_anomaly"] * 4,
        "unnamed_0",
    ]


def test_beside_the_table_little_memory_is_taken() -> None:
    cells = RNG.normal(size=(200_000, 4))
    cells[:, 1] = RNG.integers(0, 50, len(cells))
    cells[::3, 2] = np.nan
    cells[5, 3] = -9999
    one = Table(cells=cells, columns=tuple(Column(name=f"s{place}") for place in range(4)))
    profile(one)
    tracemalloc.start()
    found = profile(one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[1].distinct == 50 and found[2].missing == 66_667 and found[3].sentinels == (-9999.0,)
    assert peak < 4 << 20 < cells.nbytes
