"""The rows that a spec names, as plain arguments."""

from __future__ import annotations

from pathlib import Path

from aecompress.data.base import Request
from aecompress.data.sources.registry import kind_of
from aecompress.errors import SpecError
from aecompress.spec.fields import DataSpec


def request_of(spec: DataSpec, seed: int, directory: Path = Path()) -> Request:
    """Return the rows to load, and how to split and scale them.

    Args:
        directory: what relative paths of the spec start from.

    Raises:
        SpecError: the rows are of a kind that leaves no choice in a field that is set.
    """
    kind = kind_of(spec.source)
    faults = [
        f"data.{name} = {value!r}: {kind.why_only}; leave it out"
        for name, allowed in kind.only.items()
        if (value := getattr(spec, name)) not in allowed
    ]
    if faults:
        raise SpecError(faults)
    return Request(
        source=spec.source,
        more=spec.more,
        key=spec.key,
        columns=spec.columns,
        header=spec.header,
        split=spec.split,
        validation=spec.val,
        test=spec.test,
        labels=spec.labels,
        label=spec.label,
        missing=spec.missing,
        dates=spec.dates,
        categories=spec.categories,
        split_by=spec.split_by,
        window=spec.window,
        stride=spec.stride,
        in_memory=spec.in_memory,
        scaling=spec.scaling,
        seed=seed,
        directory=directory,
    )
