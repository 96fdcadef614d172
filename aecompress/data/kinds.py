"""Kinds of data: what their rows are kept as, and how they are split, scaled and described. A new kind is a row here.

The metrics that only one kind has are in :data:`aecompress.runs.ranking.METRICS`, by the same names.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from aecompress.data import arrays, interactions
from aecompress.data.base import Kept, Raw, Request, Splits
from aecompress.data.facts import Facts
from aecompress.data.scaling import Scaling
from aecompress.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Kept]):
    """What is done with rows that a source has read."""

    split: Callable[[Raw[Kept], Request], Splits[Kept]]
    """Raw rows ``[N, ...]`` -> raw rows ``[N, D]`` of each split."""
    scale: Callable[[Splits[Kept], Request], tuple[Scaling, Splits[Any]]]
    """Raw rows -> scaled rows, float32."""
    digest: Callable[[Splits[Kept]], str]
    """Raw rows -> sha256, in hex digits."""
    facts: Callable[[Any, tuple[int, ...]], Facts]
    """(scaled training rows, shape of a row) -> what "auto" fields depend on."""
    sparse: bool = False
    """Rows are kept sparse: only a batch of them may be made dense."""
    needs: str = ""
    """A module that only this kind needs; the kind's name is that of the extra that installs it."""


KINDS: dict[str, Kind[Any]] = {
    "rows": Kind(split=arrays.split_rows, scale=arrays.scale_rows, digest=arrays.digest_of, facts=arrays.facts_of),
    "interactions": Kind(
        split=interactions.split_users,
        scale=interactions.unscaled,
        digest=interactions.digest_of,
        facts=interactions.facts_of,
        sparse=True,
        needs="torchmetrics",  # recall@k and nDCG@k
    ),
}


def check_installed(kind: str) -> None:
    """Refuse a kind of data whose module is missing, before anything is read.

    Raises:
        DataError: with the extra to install.
    """
    module = KINDS[kind].needs
    if module and importlib.util.find_spec(module) is None:
        raise DataError(f"{kind}: needs {module}; pip install 'aecompress[{kind}]'")
