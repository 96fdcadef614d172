"""The rows that evolution sees, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from aecompress import rng
from aecompress.data.dataset import Dataset
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.sparse import Rows as DataRows
from aecompress.data.sparse import SparseRows
from aecompress.evolve.base import Rows
from aecompress.nets.rows import RowSet, SparseTensor, StoredTensor, picked
from aecompress.plan.training import DTYPES
from aecompress.spec.fields import RunSpec

SAMPLE_ROWS = 64, 10_000
"""The fewest and the most rows that a generation is evaluated on; between them, a tenth of the rows given."""

SAMPLE_VALUES = 1 << 24
"""Values of a sample of rows that are kept in memory where all rows are not."""


@dataclass(frozen=True)
class Sampling:
    """Which rows evolution sees, and in which number format."""

    seed: int
    """Of the samples that a generation is evaluated on."""
    dtype: torch.dtype
    guide_split: str
    """The split that guide rows come from; where it has none, the nearest one that has rows."""


def sampling_of(spec: RunSpec) -> Sampling:
    """Return which rows evolution sees under a complete spec."""
    return Sampling(seed=spec.seed, dtype=DTYPES[spec.precision], guide_split=spec.prune.guide_split)


def rows_of(sampling: Sampling, dataset: Dataset, device: torch.device) -> Rows:
    """Return the rows that evolution sees, moved to the device once."""

    def moved(rows: DataRows) -> RowSet:
        return on_device(rows, device, sampling.dtype)

    splits = dataset.splits
    train = moved(dataset.train)
    sample = sampled(train, len(train), sampling.seed, "measure-train")
    validation, validation_sample = sample, sample
    if "validation" in splits:
        validation = moved(dataset.validation)
        validation_sample = sampled(validation, len(train) // 2, sampling.seed, "measure-validation")
    guide = moved(dataset.test) if sampling.guide_split == "test" and "test" in splits else validation
    return Rows(train=train, sample=sample, validation=validation, validation_sample=validation_sample, guide=guide)


def on_device(rows: DataRows, device: torch.device, dtype: torch.dtype) -> RowSet:
    """Return rows as tensors on a device; sparse ones stay sparse, and those of a file where they are."""
    if isinstance(rows, ScaledRows):
        return StoredTensor(rows, dtype)
    if isinstance(rows, SparseRows):
        starts, places = (torch.from_numpy(part).to(device) for part in (rows.starts, rows.places))
        longest = int(np.diff(rows.starts).max(initial=0))
        return SparseTensor(starts=starts, places=places, inputs=rows.inputs, dtype=dtype, longest=longest)
    return torch.from_numpy(rows).to(device, dtype)


def sampled(rows: RowSet, trained_rows: int, seed: int, purpose: str) -> RowSet:
    """Return rows to evaluate each generation on: so few that it costs a small part of training on so many rows."""
    count = min(max(trained_rows // 10, SAMPLE_ROWS[0]), SAMPLE_ROWS[1])
    if count >= len(rows):
        return rows
    index = np.sort(rng.host(seed, purpose).choice(len(rows), count, replace=False))
    few = picked(rows, torch.from_numpy(index).to(rows.device))
    return few[:] if isinstance(few, StoredTensor) and count * few.shape[1] <= SAMPLE_VALUES else few
