"""What a kind of data is: how its rows are split, scaled, described and measured.

The kinds are those that the rows of :data:`aecompress.registry.SOURCES` name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aecompress.data.base import Kept, Partition, Raw, Request, Splits
from aecompress.data.facts import Facts
from aecompress.data.scaling import Scaling
from aecompress.errors import DataError

Part = TypeVar("Part")
"""How a kind of data keeps a split."""


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Kept, Part]):
    """What is done with rows that a source has read."""

    name: str
    split: Callable[[Raw[Kept], Request], Partition[Part]]
    """Raw rows ``[N, ...]`` -> raw rows ``[N, D]`` of each split."""
    scale: Callable[[Splits[Part], Request], tuple[Scaling, Splits[Any]]]
    """Raw rows -> scaled rows, float32."""
    digest: Callable[[Splits[Part]], str]
    """Raw rows -> sha256, in hex digits."""
    facts: Callable[[Any, tuple[int, ...]], Facts]
    """(scaled training rows, shape of a row) -> what "auto" fields depend on."""
    sparse: bool = False
    """Rows are kept sparse (:mod:`aecompress.data.sparse`): only a batch of them may be made dense."""
    needs: str = ""
    """A module that only this kind needs; the kind's name is that of the extra that installs it."""
    metrics: str = ""
    """Metrics that only this kind has, on test rows: a :data:`aecompress.runs.metrics.KindMetrics`, ``module:name``."""
    only: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Fields of the spec's section ``data`` that must hold one of these values."""
    why_only: str = ""
    """Why, as a clause."""


def check_installed(kind: Kind[Any, Any]) -> None:
    """Refuse a kind of data whose module is missing, before anything is read.

    Raises:
        DataError: with the extra to install.
    """
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        raise DataError(f"{kind.name}: needs {kind.needs}; pip install 'aecompress[{kind.name}]'")
