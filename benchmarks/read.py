"""How long a CSV file takes to read, against the table library alone, and that the numbers are equal.

    python benchmarks/read.py [--mib 1000] [--repeats 5] [--file FILE.csv]

Both read a generated file of 30 columns of float64 with a header, in turn. The library is given what we find out: that
there are 30 columns of numbers. Printed are the seconds of each, and the ratio with the interval of its pairs. Exit
code 1: the ratio is above 1.5.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from aecompress.data.sources.formats import read_array

COLUMNS = 30
LIMIT = 1.5


def write(path: Path, mib: int) -> None:
    """Write random numbers to a file of about ``mib`` MiB."""
    names = ",".join(f"c{place}" for place in range(COLUMNS)) + "\n"
    random = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(names)
        while file.tell() < mib << 20:
            block = random.normal(size=(20_000, COLUMNS)).tolist()
            file.write("\n".join(",".join(map(repr, row)) for row in block) + "\n")


def alone(path: Path) -> pl.DataFrame:
    """Read the file by polars alone."""
    return pl.read_csv(path, schema={f"c{place}": pl.Float64 for place in range(COLUMNS)})


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> int:
    """Time both in turn, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--file", type=Path, help="keep the file here, or take it from here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.file or Path(folder) / "rows.csv"
        if not path.exists():
            write(path, chosen.mib)
        ours, frame = read_array(path), alone(path)
        assert all(np.array_equal(ours[:, place], frame[name].to_numpy()) for place, name in enumerate(frame.columns))
        print(f"{path.stat().st_size / 2**20:,.0f} MiB, {ours.shape[0]:,} rows of {ours.shape[1]}: equal values")
        del ours, frame
        pairs = [
            (seconds(lambda: read_array(path)), seconds(lambda: alone(path))) for _ in range(max(2, chosen.repeats))
        ]
    ratios = sorted(mine / its for mine, its in pairs)
    for name, times in zip(("aecompress", "polars alone"), zip(*pairs, strict=True), strict=True):
        print(f"{name}\t{statistics.median(times):.2f} s\t({', '.join(f'{time:.2f}' for time in times)})")
    ratio = statistics.median(ratios)
    print(f"ratio\t{ratio:.2f}\t[{ratios[0]:.2f}, {ratios[-1]:.2f}]\tlimit {LIMIT}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
