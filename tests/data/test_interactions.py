"""Users are split, and the items named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecompress.data.base import Request
from aecompress.data.dataset import load, write_npz
from aecompress.data.describe import describe
from aecompress.data.sources.interactions import users_and_items
from aecompress.data.sparse import few
from aecompress.errors import DataError

SMALL = Path(__file__).parent.parent / "fixtures" / "interactions.csv"


def test_users_are_split_and_the_items_named(tmp_path: Path) -> None:
    request = Request(source=f"interactions:{SMALL}", seed=3)
    dataset = load(request)
    assert {name: rows.shape for name, rows in dataset.splits.items()} == {
        "train": (192, 60), "validation": (24, 60), "test": (24, 60),
    }  # fmt: skip
    assert len(dataset.inputs) == 60 and len(set(dataset.inputs)) == 60
    whole, _ = users_and_items(SMALL)
    parts = np.concatenate([few(rows) for rows in dataset.splits.values()])
    assert sorted(map(tuple, parts)) == sorted(map(tuple, few(whole)))
    assert load(request).fingerprint == dataset.fingerprint != load(replace(request, seed=4)).fingerprint
    facts = describe(dataset)
    train = few(dataset.train)
    assert facts["interactions"] == 2290 and facts["mean"] == pytest.approx(train.mean())
    assert facts["constant_mse"] == pytest.approx(train.var(0, dtype=float).mean())
    with pytest.raises(DataError, match="kept sparse"):
        write_npz(dataset, tmp_path / "rows.npz")
