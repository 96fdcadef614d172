"""A column of labels: which rows of a table are anomalies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Array
from aecompress.data.file_rows import FileRows
from aecompress.data.profile import profile
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

NORMAL = frozenset(
    ("normal", "ok", "good", "benign", "healthy", "inlier", "nominal", "pass", "negative", "no", "false", "0", "0.0")
)
"""Texts of a label, in small letters, that mean a normal row; any other text means an anomaly."""


def anomalies_of(table: Table, place: int) -> NDArray[np.bool_]:
    """Return which rows ``[N]`` the label at column ``place`` calls anomalies; a missing label calls none so."""
    cells = table.cells[:, place]
    if table.columns[place].holds != "text":
        return np.equal(cells, 1)
    wrong = np.array([not is_normal(text) for text in table.columns[place].texts] + [False])
    anomalies: NDArray[np.bool_] = wrong[np.where(np.isnan(cells), -1, cells).astype(np.int64)]
    return anomalies


def is_normal(text: str) -> bool:
    """Return whether a text of a label means a normal row."""
    return text.strip(" .").lower() in NORMAL


def label_fault(table: Table, place: int) -> str:
    """Return why the column at ``place`` is no label of normal rows and anomalies, as a clause; empty where it is."""
    column, cells = table.columns[place], table.cells[:, place]
    if np.isnan(cells).all():
        return "has no values; a label is 0 and 1, or texts of which normal rows have 'normal'"
    if column.holds == "date":
        return "holds dates; a label is 0 and 1, or texts of which normal rows have 'normal'"
    if column.holds == "text":
        if not any(map(is_normal, column.texts)):
            found = quoted(", ".join(repr(text) for text in column.texts[:5]))
            return f"holds {found}, so no row is normal; call those 'normal' (or ok, good, benign, pass, 0)"
        return ""
    different = np.unique(cells[~np.isnan(cells)])
    if not np.isin(different, (0, 1)).all():
        return f"holds {[float(f'{one:g}') for one in different[:5]]}; 0 (normal) and 1 (anomaly) are needed"
    return ""


def labels_in(where: str, rows: Array | Table | FileRows) -> Array:
    """Return the labels of a file of labels alone, 0 or 1 of a table, whose column of row numbers is left out.

    Raises:
        DataError: the table has several columns of labels, or a row without one, or does not name normal rows.
    """
    if not isinstance(rows, Table):
        return np.asarray(rows)
    if len(rows) == 1:  # all on one line
        return rows.cells.reshape(-1)
    places = [place for place, column in enumerate(profile(rows)) if column.kind != "index"]
    if len(places) != 1:
        raise DataError(f"{where}: has {len(places)} columns; give one, of labels")
    (place,) = places
    missing = np.isnan(rows.cells[:, place])
    fault = label_fault(rows, place) or (f"has no value in row {np.argmax(missing)}" if missing.any() else "")
    if fault:
        raise DataError(f"{where}: {fault}")
    return anomalies_of(rows, place).astype(np.int8)
