"""Windows: block by block, the same as by indices; their rows, each once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.data import windows
from aecompress.data.sources.formats import open_array
from aecompress.data.windows import WindowIndex, Windows, window_index


@pytest.mark.parametrize("block", [1, 30, 100_000])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("chosen", ["all", "few"])
def test_blocks_hold_the_windows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, alternating: bool, chosen: str
) -> None:
    monkeypatch.setattr(windows, "BLOCK", block)
    rows = np.arange(900, dtype=np.int16).reshape(300, 3)
    index = window_index(np.arange(300) % 2 if alternating else np.zeros(300, int), 4, 3)
    if chosen == "few":  # far apart: taken by their places
        index = index.of(np.arange(len(index)) % 40 == 0)
    order = np.argsort(np.arange(300) % 2, kind="stable") if alternating else np.arange(300)
    expected = [rows[order[first : first + 4]].ravel() for first in index.starts]
    these = Windows(rows, index)
    found = list(these.blocks())
    assert np.array_equal(np.concatenate(found), expected)
    assert these.shape == (len(index), 12) and these.dtype == np.int16 and these.whole is None
    assert len(found) == -(-len(index) // max(1, block // 12))
    once = np.unique([order[first + step] for first in index.starts for step in range(4)])
    assert np.array_equal(np.concatenate(list(these.each.blocks())), rows[once])
    np.save(tmp_path / "rows.npy", rows)
    stored = open_array(tmp_path / "rows.npy")
    assert not isinstance(stored, np.ndarray)
    assert np.array_equal(np.concatenate(list(Windows(stored, index).blocks())), expected)


def test_windows_of_none_have_no_blocks() -> None:
    index = WindowIndex(starts=np.empty(0, np.int64), length=3, count=10)
    assert list(Windows(np.zeros((10, 2)), index).blocks()) == [] and not index.covered.any()


def test_segments_of_any_size_give_their_own_windows() -> None:
    index = window_index(np.repeat([0, 1, 2, 3], [2, 5, 9, 4]), 4, 2)
    assert index.starts.tolist() == [2, 7, 9, 11, 16] and index.order is None
    assert index.counts(np.arange(20) >= 10).tolist() == [0, 1, 3, 4, 4]
