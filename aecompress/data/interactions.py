"""Interactions: who used what, a row of zeros and ones for each user."""

from __future__ import annotations

import hashlib

import numpy as np

from aecompress.data.base import Partition, Raw, Request, Splits
from aecompress.data.facts import Facts
from aecompress.data.kinds import Kind
from aecompress.data.scaling import UNSCALED, Scaling
from aecompress.data.sparse import SparseRows
from aecompress.data.split import draw


def split_users(raw: Raw[SparseRows], request: Request) -> Partition[SparseRows]:
    """Split users at random by ``request.seed``; each split keeps the order of the file."""
    users = raw.train
    cuts = np.round(np.cumsum(request.split) * len(users)).astype(int)
    parts = draw(len(users), cuts, request.seed)
    splits = Splits(*(users.pick(np.flatnonzero(parts == part)) for part in range(3)))
    return Partition(splits=splits, shape=users.shape[1:], inputs=raw.inputs)


def digest_of(splits: Splits[SparseRows]) -> str:
    """Return the sha256 over the places of the ones of all splits."""
    digest = hashlib.sha256()
    for rows in splits:
        digest.update(rows.starts.tobytes() + rows.places.tobytes())
    return digest.hexdigest()


def unscaled(splits: Splits[SparseRows], request: Request) -> tuple[Scaling, Splits[SparseRows]]:
    """Return the rows as they are: zeros and ones need no scaling."""
    return UNSCALED, splits


def facts_of(train: SparseRows, shape: tuple[int, ...]) -> Facts:
    """Return what "auto" fields depend on."""
    return Facts(rows=len(train), inputs=train.inputs, binary=True, unit=True, shape=shape, sparse=True)


INTERACTIONS = Kind(
    name="interactions",
    split=split_users,
    scale=unscaled,
    digest=digest_of,
    facts=facts_of,
    sparse=True,
    needs="torchmetrics",  # recall@k and nDCG@k
    metrics="aecompress.runs.ranking:ranking",
    only={
        "key": ("",),
        "in_memory": ("auto", "yes"),
        "val": ("",),
        "test": ("",),
        "labels": ("",),
        "scaling": ("auto", "none"),
        "split_by": ("auto", "random"),
        "window": (0,),
    },
    why_only="interactions are split by user and stay 0 and 1",
)
