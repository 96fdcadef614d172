"""``aecompress data``: describe a dataset, or write it to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, emit_row, reported


def data(
    source: options.Source = None,
    spec: options.SpecFile = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    key: options.Key = None,
    split: options.Split = None,
    val: options.Val = None,
    test: options.Test = None,
    scaling: options.Scaling = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npz", help="Write the scaled splits there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a dataset as a run would see it: splits, values, scaling, noise floor of the built-in sets."""
    values = locals()
    with reported():
        resolved = options.resolved_from(values)
        from aecompress.data.dataset import load, write_npz
        from aecompress.data.describe import describe

        dataset = load(resolved.spec.data, resolved.spec.seed)
        if output is not None:
            write_npz(dataset, output)
        facts = describe(dataset)
        if json:
            emit_json(facts)
        else:
            for name, value in facts.items():
                emit_row(name, value)
