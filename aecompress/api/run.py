"""A run from Python: its events one by one, or its result."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aecompress import markup
from aecompress.api.result import Result, read_result
from aecompress.api.view import Seen, page, progress_view, state
from aecompress.errors import RunError, printable
from aecompress.events import Event
from aecompress.runs import narrate
from aecompress.runs.job import Job, prepare
from aecompress.runs.lines import facts_of
from aecompress.runs.run import run as carry_out
from aecompress.spec.fields import FIELDS, RunSpec
from aecompress.spec.resolve import Resolved, resolve
from aecompress.spec.toml import flatten


class Run(Iterator[Event]):
    """A run that is known to be possible. It starts with the first event that is taken from it, or with ``result()``.

    >>> for event in aecompress.run({"data.source": "digits"}, "runs/a"):
    ...     print(event.kind)
    >>> result = aecompress.run({"data.source": "digits"}, "runs/b").result()
    """

    def __init__(self, job: Job) -> None:
        self.folder = job.folder
        self._seen = Seen(started=narrate.started(job))
        self._begun = self._closed = False
        self._events = carry_out(job)

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Event:
        """Carry the run out as far as its next event.

        Raises:
            AecompressError: the run fails, or is stopped.
        """
        self._begun |= not self._closed
        try:
            event = next(self._events)
        except BaseException:
            self._seen.broken = self._begun and self._seen.finished is None
            raise
        self._seen.add(event)
        return event

    def close(self) -> None:
        """Stop the run with a checkpoint; nothing where it is at its end, or was not started."""
        self._closed = True
        self._seen.broken = self._begun and self._seen.finished is None
        self._events.close()

    def result(self) -> Result:
        """Carry the run out to its end, from where it is, and return what it left; in a notebook, show a live view.

        Raises:
            AecompressError: the run fails or was stopped, or its files were removed or changed since.
        """
        try:
            for _ in progress_view(self):
                pass
        except BaseException:
            self.close()
            raise
        if self._seen.finished is None:
            raise RunError(f"{self.folder}: {self._state()}, so it has no result; {self._cure()}")
        return read_result(self.folder)

    def _state(self) -> str:
        if self._begun:
            return state(self._seen)
        return "was closed before it started" if self._closed else "not started"

    def _cure(self) -> str:
        if self._begun:
            return f"`aecompress prune --resume {self.folder}` resumes it"
        return "iterate over it, or call .result()" if not self._closed else "call aecompress.run again"

    def __repr__(self) -> str:
        return printable(f"<Run in {self.folder}: {self._state()}>")

    def _repr_html_(self) -> str:
        if self._begun:
            return page(self._seen)
        started = self._seen.started
        facts = [] if started is None else facts_of(started)
        title = markup.headline(str(self.folder), self._state())
        return markup.block(title, markup.facts(facts), markup.note(self._cure()))

    def __del__(self) -> None:
        if not self.__dict__.get("_begun", True) and not self._closed:
            warnings.warn(
                f"the run in {self.folder} was thrown away before it started: iterate over it, or call .result()",
                UserWarning,
                stacklevel=2,
                source=self,
            )


def run(
    spec: RunSpec | Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    trust_code: bool = False,
) -> Run:
    """Prepare a run: train, prune, export and verify; it starts when its events are iterated, or with ``.result()``.

    Each event is yielded after it was written to ``events.jsonl``. Closing the run stops it with a checkpoint.

    Args:
        spec: a RunSpec; a mapping of fields, dotted or nested; the path of a TOML file; or None for the defaults.
        output: the run folder; None makes ``runs/NAME-TIME``.
        force: replace the run in a non-empty folder.
        trust_code: run the file of Python that ``model.init`` names as ``FILE.py:NAME``, with all your rights.

    Raises:
        AecompressError: the spec, the data or the folder cannot be used; nothing is written.
    """
    return Run(prepare(_resolved(spec), None if output is None else Path(output), force, trust_code))


def _resolved(spec: RunSpec | Mapping[str, Any] | str | Path | None) -> Resolved:
    if isinstance(spec, RunSpec):
        return Resolved(spec, dict.fromkeys(FIELDS, "RunSpec"))
    if isinstance(spec, str | Path):
        return resolve(file=Path(spec))
    return resolve({path: ("spec", value) for path, value in flatten(spec or {}).items()})
