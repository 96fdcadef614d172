"""What each column of a table is to a person: a number, an index, a date, a label, and how clean it is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aecompress.data import column_stats as stats
from aecompress.data.column_stats import Extent, Flags
from aecompress.data.table import Column, ColumnKind, Profile, Table
from aecompress.parsing import quoted

LABELS = re.compile(
    "labels?|class(es)?|target|y|(is_)?(anomal(y|ies|ous)|outliers?|faulty?|fail(ed|ure)|defect(ive)?|attack|normal)"
    "|(is_)?(fraud(ulent)?|malicious|abnormal|intrusion)|attack_type|malware|ground_truth|gt|y_true|diagnosis|species|outcome|pass_fail"
)
"""Usual names of labels, as :func:`plain` writes a name."""
NUMBERS_ROWS = re.compile("index|idx|id|uid|key|unnamed_0|rows?(_?id|_number|_no)?|record(_id)?")
TIMES = re.compile("t|ts|time(_?s|_?ms|stamp)?|date(time)?|epoch|unix(_?time)?|seconds")
NORMAL = re.compile(r"(normal|benign|healthy|inlier)\.?")
ABNORMAL = re.compile(
    r"(anomal(y|ous)|abnormal|attack|outlier|fault(y)?|fail(ed|ure)|defect(ive)?|malicious|malware|broken|damaged?)\.?"
)
"""Texts that together make a label of a column, whatever its name is."""
LABEL_VALUES = 20
"""Values that a label has at most."""
CATEGORY_VALUES = 200
"""Texts that a category has at most."""
LEAST_ROWS = 10
"""Fewer rows may be in order by accident."""
EXAMPLES = 3


Kinded = tuple[ColumnKind, str]
"""A kind, and what shows it, as a clause."""
NUMBER: Kinded = ("number", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What is known of the C columns of a table before their kinds are."""

    table: Table
    extent: Extent
    distinct: list[int]
    rises: Flags
    equal: Flags
    names: tuple[str, ...]
    """As :func:`plain` writes them."""


def profile(table: Table) -> tuple[Profile, ...]:
    """Return what each column holds: its kind, missing cells, range, outliers, sentinels, and first cells.

    Time is linear in the rows; beside the table about two megabytes are held. Quartiles are those of a sample of
    :data:`~aecompress.data.column_stats.SAMPLE` rows, the same for the same number of rows; all counts are exact.
    An outlier lies outside Tukey's outer fences, three quartile distances beyond the quartiles, or more in columns of
    thousands of rows (:data:`~aecompress.data.column_stats.FALSE_ALARM`), and is no sentinel.
    """
    seen = _see(table)
    kinds = [_kind(seen, place) for place in range(len(table.columns))]
    if all(kind in ("index", "counter") for kind, _ in kinds) and not _is_nameless(table):
        kinds = [NUMBER for _ in kinds]  # they are the data, such as a ramp that somebody tries the program with
    marks = [_sentinels(seen, place, kind) for place, (kind, _) in enumerate(kinds)]
    outliers = _outliers(seen, marks)
    return tuple(
        Profile(
            name=column.name,
            kind=kind,
            why=why,
            missing=int(seen.extent.missing[place]),
            infinite=int(seen.extent.infinite[place]),
            distinct=seen.distinct[place],
            low=float("nan") if column.holds == "text" else float(seen.extent.low[place]),
            high=float("nan") if column.holds == "text" else float(seen.extent.high[place]),
            outliers=outliers[place] if kind == "number" else 0,
            sentinels=tuple(sorted(marks[place])),
            examples=tuple(cell_text(column, float(value)) for value in table.cells[:EXAMPLES, place]),
        )
        for place, (column, (kind, why)) in enumerate(zip(table.columns, kinds, strict=True))
    )


def cell_text(column: Column, value: float) -> str:
    """Return a cell as a person reads it: a number, a text, a date, true or false; empty where it is missing."""
    if math.isnan(value):
        return ""
    if column.holds == "text":
        return column.texts[int(value)]
    if column.holds == "date":
        return date_text(value)
    if column.holds == "boolean":
        return "true" if value else "false"
    return f"{value:.15g}"


def date_text(seconds: float) -> str:
    """Return seconds since 1970 as a date, with its time where it has one: ``2024-01-01 06:30``."""
    if not abs(seconds) < 1e14:
        return f"{seconds:.15g}"
    text = str(np.datetime64(round(seconds * 1000), "ms")).replace("T", " ")
    for end in (".000", ":00", " 00:00"):
        text = text.removesuffix(end)
    return text


def plain(name: str) -> str:
    """Return a column's name as lists of usual names have it: ``Is Anomaly`` is ``is_anomaly``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def names_anomalies(texts: Sequence[str]) -> bool:
    """Return whether texts name normal rows and anomalies; those of KDD 99 all end in a point, as ``smurf.``."""
    plain_texts = [text.strip().lower() for text in texts]
    normal = any(map(NORMAL.fullmatch, plain_texts))
    return normal and (any(map(ABNORMAL.fullmatch, plain_texts)) or all(text.endswith(".") for text in plain_texts))


def _see(table: Table) -> Seen:
    """Count and compare the cells of all columns."""
    cells, width = table.cells, len(table.columns)
    none = np.zeros(width, bool)
    rises, equal = stats.rising(cells) if len(cells) else (none, none)
    numbers = np.array([place for place, one in enumerate(table.columns) if one.holds != "text"], np.int64)
    counted = dict(zip(numbers.tolist(), stats.distinct(cells, stats.spread_rows(len(cells)), numbers), strict=True))
    return Seen(
        table=table,
        extent=stats.extent(cells),
        distinct=[int(counted.get(place, len(one.texts))) for place, one in enumerate(table.columns)],
        rises=rises,
        equal=equal,
        names=tuple(map(plain, table.names)),
    )


def _kind(seen: Seen, place: int) -> Kinded:
    """Return what one column is, and what shows it."""
    column, count = seen.table.columns[place], seen.distinct[place]
    if seen.extent.infinite[place] or column.unread:
        return NUMBER
    if count == 0:
        return "empty", "has no values"
    if count == 1:
        only = repr(column.texts[0]) if column.holds == "text" else cell_text(column, float(seen.extent.low[place]))
        return "constant", f"is {quoted(only)} wherever it has a value"
    if column.holds == "date":
        return "date", ""
    label = _label(seen, place)
    if label is not None:
        return label
    if column.holds == "text":
        if names_anomalies(column.texts):
            return "label", f"has {count} texts that name normal rows and anomalies"
        few = count <= CATEGORY_VALUES and 2 * count <= len(seen.table) - seen.extent.missing[place]
        return ("category", f"has {count} texts") if few else ("text", f"has {count} texts")
    if column.holds == "boolean":
        return "boolean", ""
    return _in_order(seen, place) or (("boolean", "is 0 or 1") if _is_bits(seen, place) else NUMBER)


def _is_bits(seen: Seen, place: int) -> bool:
    """Return whether the values of a column are 0 and 1."""
    low, high = seen.extent.low[place], seen.extent.high[place]
    return bool(low == 0 and high == 1 and seen.distinct[place] == 2)


def _label(seen: Seen, place: int) -> Kinded | None:
    """Return the kind of a label: few whole numbers, or few texts, under a usual name of labels."""
    column, count = seen.table.columns[place], seen.distinct[place]
    name = seen.names[place]
    if not LABELS.fullmatch(name) or count > LABEL_VALUES or 2 * count > len(seen.table):
        return None
    two = column.holds in ("text", "boolean") or _is_bits(seen, place)
    if name == "y" and (not two or not {"x", "z"}.isdisjoint(seen.names)):  # a coordinate
        return None
    if not two and not stats.whole(seen.table.cells, place):
        return None
    if column.holds == "text":
        return "label", f"has {count} texts and a name of labels"
    return "label", "is 0 or 1 and has a name of labels" if two else f"has {count} values and a name of labels"


def _in_order(seen: Seen, place: int) -> Kinded | None:
    """Return the kind of a column of numbers that counts rows or time; None where it is a measurement."""
    cells, name = seen.table.cells, seen.names[place]
    present = not seen.extent.missing[place]
    nameless = place == 0 and _is_nameless(seen.table)
    first = cells[0, place]
    enough = len(cells) >= LEAST_ROWS
    if not present or len(seen.table.columns) == 1:
        return None
    if seen.equal[place] and first in (0, 1) and cells[-1, place] == first + len(cells) - 1 and (enough or nameless):
        return "index", f"numbers the rows from {int(first)}"
    if nameless and stats.whole(cells, place):
        return "index", "is an unnamed first column of whole numbers"
    if not enough:
        return None
    if NUMBERS_ROWS.fullmatch(name) and stats.whole(cells, place) and stats.all_differ(cells, place):
        return "index", "has a different whole number in each row and a name of indices"
    if seen.equal[place]:
        step = (cells[-1, place] - first) / (len(cells) - 1)
        return "counter", f"rises by {step:.6g} from row to row"
    if seen.rises[place] and TIMES.fullmatch(name):
        return "counter", "never falls and has a name of times"
    if seen.rises[place] and stats.whole(cells, place) and stats.mostly_equal(cells, place):
        return "counter", "rises in equal steps with gaps"
    return None


def _is_nameless(table: Table) -> bool:
    """Return whether the first column alone has no name, as the index that pandas writes."""
    names = table.names or ("",)
    return table.named and names[0] in ("", "Unnamed: 0") and "" not in names[1:]


def _sentinels(seen: Seen, place: int, kind: ColumnKind) -> dict[float, int]:
    """Return the sentinels of a column of numbers and how often each occurs: one is its smallest or largest value."""
    ends = {float(seen.extent.low[place]), float(seen.extent.high[place])}
    if kind != "number" or ends.isdisjoint(stats.HELD):
        return {}
    return stats.sentinels(seen.table.cells, place, stats.spread_rows(len(seen.table)))


def _outliers(seen: Seen, marks: Sequence[dict[float, int]]) -> list[int]:
    """Return how many cells of each column lie outside its outer fences and are neither sentinels nor infinite."""
    cells = seen.table.cells
    if not len(cells):
        return [0] * cells.shape[1]
    lower, upper = stats.fences(cells, stats.spread_rows(len(cells)), [tuple(values) for values in marks])
    outside = stats.outside(cells, lower, upper) - np.where(np.isfinite(upper), seen.extent.infinite, 0)
    return [
        int(count) - sum(often for value, often in found.items() if not low <= value <= high)
        for count, found, low, high in zip(outside, marks, lower, upper, strict=True)
    ]
