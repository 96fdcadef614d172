"""``binary-clusters:CxRxD``: the binary clustering problem (ALGORITHMS A1)."""

from __future__ import annotations

import re

import numpy as np

from aecompress import rng
from aecompress.data.base import Array, Raw, Request
from aecompress.data.sources.builtin import check_whole
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import decimal, quoted

SIZES = re.compile(r"binary-clusters:(\d+)x(\d+)x(\d+)")
FLIP_RATE = 0.05


def read_clusters(request: Request) -> Raw[Array]:
    """Generate the set that ``request.source`` describes, from ``request.seed``.

    Raises:
        DataError: it is badly written, or the memory does not hold it.
    """
    check_whole(request)
    match = SIZES.fullmatch(request.source)
    sizes = [decimal(size) or 0 for size in match.groups()] if match else []
    if not sizes or not all(sizes):
        raise DataError(
            f"{quoted(request.source)}: write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example "
            "binary-clusters:10x100x1000"
        )
    clusters, rows, inputs = sizes
    # Centroids as int64; three splits, while their noise is drawn as float64 and once as float32.
    needed = inputs * clusters * (8 + rows * (8 + 3 * 5))
    if needed > memory_bytes():
        raise DataError(
            f"{request.source}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; "
            "ask for fewer rows or inputs"
        )
    return binary_clusters(request.source, clusters, rows, inputs, request.seed)


def binary_clusters(name: str, clusters: int, rows: int, inputs: int, seed: int) -> Raw[Array]:
    """Return three sets ``[clusters x rows, inputs]`` of 0 and 1, uint8 (ALGORITHMS A1).

    A centroid bit is 1 when Binomial(2, 0.5) > 0; every row is its centroid with each bit flipped with probability
    0.05, independently in the three sets. The notes give each set's own flip rate: the L1 of a perfect code.
    """
    centroids = rng.host(seed, "centroids").binomial(2, 0.5, (clusters, inputs)) > 0
    clean = np.repeat(centroids, rows, axis=0)
    splits, notes = [], {}
    for index, part in enumerate(("train", "validation", "test")):
        flips = rng.host(seed, "flips", index).random(clean.shape) < FLIP_RATE
        splits.append((clean ^ flips).astype(np.uint8))
        notes[f"{part}_flip_rate"] = float(flips.mean())
    train, validation, test = splits
    return Raw(name=name, train=train, validation=validation, test=test, notes=notes)
