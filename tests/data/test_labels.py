"""Labels: which texts and numbers mean an anomaly, in a column of a table and in a file of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aecompress.data.frames import table_of
from aecompress.data.labels import anomalies_of, label_fault, labels_in
from aecompress.errors import DataError


@pytest.mark.parametrize(
    ("cells", "anomalies"),
    [
        ([0, 1, None], [False, True, False]),
        ([False, True, False], [False, True, False]),
        (["normal", "dos", "normal"], [False, True, False]),
        (["Normal.", " OK ", "probe"], [False, False, True]),
        (["0", "1", None], [False, True, False]),
    ],
)
def test_a_label_names_anomalies(cells: list[Any], anomalies: list[bool]) -> None:
    table = table_of({"label": cells})
    assert label_fault(table, 0) == "" and anomalies_of(table, 0).tolist() == anomalies


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([1, -1, 1], r"holds \[-1.0, 1.0\]; 0 \(normal\) and 1 \(anomaly\) are needed"),
        (["fan", "pump", "fan"], "holds 'fan', 'pump', so no row is normal; call those 'normal'"),
        ([None, None, None], "has no values; a label is 0 and 1"),
        (pd.date_range("2024-01-01", periods=3), "holds dates; a label is 0 and 1"),
    ],
)
def test_what_is_no_label_is_refused(cells: Any, fault: str) -> None:
    with pytest.raises(DataError, match=f"labels.csv: {fault}"):
        labels_in("labels.csv", table_of({"label": cells}))


def test_a_file_of_labels_may_have_texts_and_numbers_of_rows() -> None:
    texts = np.where(np.arange(30) % 7 == 3, "attack", "normal")
    table = table_of({"row": np.arange(30), "label": texts})
    assert labels_in("labels.csv", table).tolist() == (texts == "attack").astype(int).tolist()
    assert labels_in("labels.npy", np.array([0, 1])).tolist() == [0, 1]
    assert labels_in("labels.csv", table_of({"0": [0], "1": [1], "2": [1]})).tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="labels.csv: has 2 columns; give one, of labels"):
        labels_in("labels.csv", table_of({"a": texts, "label": texts}))
    with pytest.raises(DataError, match="labels.csv: has no value in row 2"):
        labels_in("labels.csv", table_of({"label": [0, 1, None]}))
