"""Chosen rows: the rows of a mask, block by block; and what a load of a file takes of the memory."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aecompress.data import chosen
from aecompress.data.chosen import Chosen

MIB = 1 << 20


@pytest.mark.parametrize("block", [1, 7, 12, 1000])
def test_blocks_hold_the_chosen_rows_in_their_order(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(chosen, "BLOCK", block)
    rows = np.arange(120, dtype=np.int16).reshape(40, 3)
    parts = np.random.default_rng(0).integers(0, 3, 40).astype(np.uint8)
    for part in range(3):
        these = Chosen(rows, parts, part)
        assert np.array_equal(np.concatenate(list(these.blocks())), rows[parts == part])
        assert these.shape == rows[parts == part].shape and these.dtype == np.int16
        assert all(len(block) for block in these.blocks())
    assert np.array_equal(np.concatenate(list(Chosen(rows).blocks())), rows)
    assert list(Chosen(rows[:0]).blocks()) == []


LOADS = """
import os, resource, sys
from aecompress.data.base import Request
from aecompress.data.dataset import load
small, *files = sys.argv[1:]
for file in files:
    for scaling in ("standard", "auto"):
        if os.fork() == 0:  # whose peak begins at what is held here
            load(Request(source=small, scaling=scaling))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            dataset = load(Request(source=file, scaling=scaling))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(file, scaling, peak, sum(rows.nbytes for rows in dataset.splits.values()), flush=True)
            os._exit(0)
        os.wait()
"""
"""Prints, for each file and scaling, by how many KiB a load raises the peak, and the bytes that it holds."""


LARGE = (
    "columns.npy",
    "single.npy",
    "archive.npz",
    "text.csv",
    "packed.csv.gz",
    "packed.csv.xz",
    "part*.npy",
)


def files_of_rows(folder: Path) -> list[str]:
    """Write the same 14 MiB of float32 rows in every format."""
    rows = np.random.default_rng(0).normal(size=(60_000, 64))
    lines = np.array([",".join(f"{value:.2f}" for value in row) for row in rows[:1000]])
    text = "\n".join(np.resize(lines, len(rows))).encode()
    (folder / "few.csv").write_bytes(b"\n".join(text.split(b"\n")[:10]))
    np.save(folder / "columns.npy", np.asfortranarray(rows))
    np.save(folder / "single.npy", rows.astype(np.float32))
    np.savez(folder / "archive.npz", rows=rows)
    (folder / "text.csv").write_bytes(text)
    (folder / "packed.csv.gz").write_bytes(gzip.compress(text, 1))
    (folder / "packed.csv.xz").write_bytes(lzma.compress(text, preset=0))
    for part in range(4):
        np.save(folder / f"part{part}.npy", rows[part * 15_000 : (part + 1) * 15_000])
    return [str(folder / name) for name in ("few.csv", *LARGE)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_a_load_takes_at_most_three_times_its_rows_as_float32(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADS, *files_of_rows(tmp_path)]
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    peaks = [line.rsplit(" ", 2) for line in printed.stdout.splitlines()]
    assert len(peaks) == 2 * len(LARGE)
    for load, peak, held in peaks:
        assert int(held) == 60_000 * 64 * 4
        beside = 30 if ".csv" in load else 6  # blocks of text and of numbers ahead, whatever the size of the file
        assert int(peak) * 1024 <= 3 * int(held) + beside * MIB, load
