"""A run as a generator of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aecompress.events import Event
from aecompress.runs.job import prepare
from aecompress.runs.run import run as carry_out
from aecompress.spec.fields import FIELDS, RunSpec
from aecompress.spec.resolve import Resolved, resolve
from aecompress.spec.toml import flatten


def run(
    spec: RunSpec | Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
) -> Iterator[Event]:
    """Train, prune, export and verify; closing the iterator stops the run with a checkpoint.

    Args:
        spec: a RunSpec; a mapping of fields, dotted or nested; the path of a TOML file; or None for the defaults.
        output: the run folder; None makes ``runs/NAME-TIME``.
        force: replace the run in a non-empty folder.

    Yields:
        Every event of the run, after it was written to ``events.jsonl``.

    Raises:
        AecompressError: the spec, the data or the folder cannot be used (nothing is written), or the run fails.
    """
    yield from carry_out(prepare(_resolved(spec), None if output is None else Path(output), force))


def _resolved(spec: RunSpec | Mapping[str, Any] | str | Path | None) -> Resolved:
    if isinstance(spec, RunSpec):
        return Resolved(spec, dict.fromkeys(FIELDS, "RunSpec"))
    if isinstance(spec, str | Path):
        return resolve(file=Path(spec))
    return resolve({path: ("spec", value) for path, value in flatten(spec or {}).items()})
