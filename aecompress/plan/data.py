"""The rows that a spec names, as plain arguments."""

from __future__ import annotations

from pathlib import Path

from aecompress.data.base import Request
from aecompress.spec.fields import DataSpec


def request_of(spec: DataSpec, seed: int, directory: Path = Path()) -> Request:
    """Return the rows to load, and how to split and scale them.

    Args:
        directory: what relative paths of the spec start from.
    """
    return Request(
        source=spec.source,
        key=spec.key,
        columns=spec.columns,
        header=spec.header,
        split=spec.split,
        validation=spec.val,
        test=spec.test,
        labels=spec.labels,
        scaling=spec.scaling,
        seed=seed,
        directory=directory,
    )
