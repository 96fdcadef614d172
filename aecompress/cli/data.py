"""``aecompress data``: describe a dataset, or write it to a file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, note, reported
from aecompress.cli.preview import emit_facts, emit_rows, record
from aecompress.errors import DataError, TableError

if TYPE_CHECKING:
    from aecompress.data.preview import Preview


@options.with_spec
def data(
    resolve: options.Resolve,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npz", help="Write the scaled splits to this file.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Preview a dataset: what is read, each column and what is done with it, the splits as a run sees them."""
    with reported():
        resolved = resolve()
        from aecompress.data.dataset import load, write_npz
        from aecompress.data.describe import describe
        from aecompress.data.kinds import check_installed
        from aecompress.data.preview import preview, scaling_words
        from aecompress.data.sources.registry import kind_of, read
        from aecompress.plan.data import request_of
        from aecompress.runs.inputs import check_raw

        request = request_of(resolved.spec.data, resolved.spec.seed)
        check_installed(kind_of(request.source))
        read_rows = [read(request)]
        seen = preview(request, read_rows[0])
        try:
            dataset = load(request, read_rows.pop())  # which lets go of the rows once they are scaled
            check_raw(dataset, resolved.spec)
            if output is not None:
                write_npz(dataset, output)
            facts = describe(dataset)
        except DataError as fault:
            if isinstance(fault, TableError) and fault.command:
                seen = replace(seen, command=fault.command)
            emit(seen, {}, seen.notes, fault, json)
            if seen.cures and not isinstance(fault, TableError):
                raise TableError([str(fault)], seen.command) from fault
            raise
        decisions = [decision for decision in dataset.decisions if decision not in seen.read_as]
        notes = (*decisions, *scaling_words(request.scaling, dataset.scaling))
        emit(seen, facts, notes, None, json)


def emit(seen: Preview, facts: dict[str, Any], notes: tuple[str, ...], fault: DataError | None, json: bool) -> None:
    """Print a preview to stdout, and its notes to stderr, after what they are about."""
    if json:
        emit_json(record(seen, facts, notes, faults_of(fault)))
    else:
        emit_rows(seen)
        sys.stdout.flush()
    for text in notes:
        note(text)
    if not json:
        emit_facts(seen, facts, gap=bool(notes))
        sys.stdout.flush()


def faults_of(fault: DataError | None) -> list[str]:
    """Return why rows cannot be used, as sentences."""
    if fault is None:
        return []
    return fault.faults if isinstance(fault, TableError) else [str(fault)]
