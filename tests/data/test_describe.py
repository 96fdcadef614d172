"""The description of a dataset: every number checked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aecompress.data.base import Request
from aecompress.data.dataset import Dataset, load
from aecompress.data.describe import describe
from aecompress.data.scaling import Scaling


def dataset(train: list[list[float]], notes: dict[str, float] | None = None) -> Dataset:
    rows = np.array(train, np.float32)
    return Dataset(
        name="mine",
        train=rows,
        validation=rows[:1],
        test=rows[:0],
        shape=(2, 1),
        scaling=Scaling("minmax", [0.0], [1.0]),
        fingerprint="ab" * 8,
        notes=notes or {},
    )


def test_every_number_of_a_small_set_is_right() -> None:
    assert describe(dataset([[0, 2], [1, 6], [2, 4]], {"train_flip_rate": 0.05})) == {
        "name": "mine",
        "inputs": 2,
        "row_shape": [2, 1],
        "train_rows": 3,
        "validation_rows": 1,
        "values": "real",
        "minimum": 0.0,
        "maximum": 6.0,
        "mean": 2.5,
        "scaling": "minmax",
        "fingerprint": "ab" * 8,
        "constant_mse": pytest.approx((2 / 3 + 8 / 3) / 2),
        "train_flip_rate": 0.05,
    }


@pytest.mark.parametrize(
    ("train", "kind"),
    [([[0, 1]], "0/1"), ([[0, 0.5]], "in [0, 1]"), ([[0, 1.5]], "real"), ([[-0.1, 1]], "real")],
)
def test_the_kind_of_values_is_named(train: list[list[float]], kind: str) -> None:
    assert describe(dataset(train))["values"] == kind


@pytest.mark.parametrize("source", ["digits", "binary-clusters:3x4x20"])
def test_a_description_is_plain_json(source: str) -> None:
    described = describe(load(Request(source=source)))
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["name"] == source


def test_predicting_the_mean_row_of_digits_scores_the_constant_mse() -> None:
    digits = load(Request())
    train = digits.train.astype(float)
    assert describe(digits)["constant_mse"] == pytest.approx(((train - train.mean(0)) ** 2).mean())
