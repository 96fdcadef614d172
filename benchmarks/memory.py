"""The memory of a run: its peak beside the bytes of its rows in float32, and under a limit on addresses.

    python benchmarks/memory.py [--mb 400] [--big 0] [--json]

Each run is a process of its own; its peak (VmHWM) is counted above that of a run on a thousand rows. With ``--big GB``
a sparse float32 file of so many gigabytes is trained on under a limit of 2 GB above what the process has after its
imports. A figure counts only if the run was verified.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

INPUTS = 100
LIMIT = 2 << 30
FLAGS = ("--epochs", "1", "--cells", "2", "--hidden", "16", "--latent", "8", "--batch", "2048", "--seed", "1")
CHILD = """
import resource, sys
import numpy, torch, onnx, onnxruntime, safetensors
import aecompress.cli.prune, aecompress.runs.trip
from aecompress.cli.main import main
from aecompress.engines.numba import engine
engine.warm()

def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key + ":"))
    return int(line.split()[1]) << 10

limit, sys.argv = int(sys.argv[1]), ["aecompress", *sys.argv[2:]]
addresses = status("VmSize")
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (addresses + limit,) * 2)
try:
    code = main()
except SystemExit as stop:
    code = stop.code
print(code or 0, status("VmHWM"), status("VmPeak") - addresses, file=sys.__stderr__)
"""
"""Prints the exit code, the peak of the memory, and by how much the addresses grew after the imports."""


def write_rows(path: Path, rows: int, inputs: int, dtype: str, sparse: bool = False) -> None:
    """Write rows of rank 8 with some noise, or only a few of them and zeros between, which take no room on the disk."""
    draws = np.random.default_rng(0)
    base, block = draws.random((8, inputs), dtype=np.float32) / 8, 10_000
    with path.open("wb") as file:
        about = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, inputs)}
        np.lib.format.write_array_header_1_0(file, about)
        start, width = file.tell(), inputs * np.dtype(dtype).itemsize
        for first in range(0, rows, block * (50 if sparse else 1)):
            count = min(block, rows - first)
            values = (
                draws.random((count, 8), dtype=np.float32) @ base + draws.random((count, inputs), dtype=np.float32) / 50
            )
            file.seek(start + first * width)
            file.write((values * (200 if dtype == "uint8" else 1)).astype(dtype).tobytes())
        file.truncate(start + rows * width)


def run(source: Path, folder: Path, limit: int = 0, *flags: str) -> tuple[int, int]:
    """Carry a run out; return the peak of its memory and the growth of its addresses, in bytes."""
    output = folder / source.stem
    command = [sys.executable, "-c", CHILD, str(limit), "prune", str(source), *FLAGS, *flags, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    code, peak, growth = map(int, done.stderr.splitlines()[-1].split()) if done.returncode == 0 else (1, 0, 0)
    assert code == 0, done.stderr
    assert json.loads((output / "model" / "verification.json").read_text())["passed"]
    return peak, growth


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=float, default=400, help="megabytes of rows as float32")
    parser.add_argument("--big", type=float, default=0, help="gigabytes of a file that is trained on under a limit")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=Path()) as name:
        for what, figures in measured(Path(name), int(given.mb * 1e6 / 4 / INPUTS), given.big):
            found[what] = figures
            print(f"{what:28}", *(f"{key} {value:.2f}" for key, value in figures.items()), file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(found))


def measured(folder: Path, rows: int, big: float) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of each run: by type of rows and where they are, and of a file of so many gigabytes."""
    write_rows(folder / "few.npy", 1000, INPUTS, "float32")
    few = run(folder / "few.npy", folder)[0]
    for dtype in ("float32", "float64", "uint8") if rows else ():
        path = folder / f"{dtype}.npy"
        write_rows(path, rows, INPUTS, dtype)
        for held in ("yes", "no"):
            peak = run(path, folder, 0, "--in-memory", held, "--force")[0] - few
            yield f"{dtype}, in memory: {held}", {"MB": peak / 1e6, "of the rows": peak / (4 * rows * INPUTS)}
        path.unlink()
    if big:
        path = folder / "big.npy"
        write_rows(path, int(big * 1e9 / 4000), 1000, "float32", sparse=True)
        peak, growth = run(path, folder, LIMIT)
        yield f"{big:g} GB under a limit", {"MB": (peak - few) / 1e6, "addresses, MB": growth / 1e6}


if __name__ == "__main__":
    main()
