"""A toy kind of data: measurements in the order of time, ``ordered:FILE``, whose last rows are those of the test."""

from __future__ import annotations

import dataclasses

import numpy as np

from aecompress.data.arrays import ROWS
from aecompress.data.base import Array, Partition, Raw, Request, Splits
from aecompress.data.chosen import Chosen
from aecompress.registry import SourceRow


def read_ordered(request: Request) -> Raw[Array]:
    """Read lines of numbers in [0, 1]."""
    path = request.directory / request.source.partition(":")[2]
    return Raw(name="ordered", train=np.loadtxt(path, ndmin=2))


def split_ordered(raw: Raw[Array], request: Request) -> Partition[Chosen]:
    """Cut the rows where the shares end."""
    cuts = np.round(np.cumsum(request.split[:2]) * len(raw.train)).astype(int)
    return Partition(splits=Splits(*map(Chosen, np.split(raw.train, cuts))), shape=raw.train.shape[1:])


def drift(net: object, weights: object, rows: Array, seed: int, poll: object) -> dict[str, float]:
    """Return how far the first test row lies from the last."""
    return {"drift": float(np.abs(rows[-1] - rows[0]).max())}


ORDERED = dataclasses.replace(
    ROWS,
    name="ordered",
    split=split_ordered,
    metrics="tests.data.ordered:drift",
    only={"val": ("",), "test": ("",)},
    why_only="ordered rows are cut where the shares end",
)
ROW = SourceRow(usage="ordered:FILE", read="tests.data.ordered:read_ordered", kind="tests.data.ordered:ORDERED")
