"""``aecompress data``: describe a dataset, or write it to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, note, reported
from aecompress.cli.tables import emit_table


@options.with_spec
def data(
    resolve: options.Resolve,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npz", help="Write the scaled splits to this file.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Describe a dataset as a run reads it: splits, values, scaling, noise floor of the built-in sets."""
    with reported():
        resolved = resolve()
        from aecompress.data.dataset import load, write_npz
        from aecompress.data.describe import describe
        from aecompress.plan.data import request_of

        dataset = load(request_of(resolved.spec.data, resolved.spec.seed))
        if output is not None:
            write_npz(dataset, output)
        for decision in dataset.decisions:
            note(decision)
        facts = describe(dataset)
        if json:
            emit_json(facts)
        else:
            emit_table(
                [(name, f"{value:.6g}" if isinstance(value, float) else value) for name, value in facts.items()], 2
            )
