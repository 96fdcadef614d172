"""``aecompress report``: a run or a study on one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import emit_json, reported
from aecompress.cli.options import Json
from aecompress.cli.tables import emit_table


def report(
    where: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder of a run, or of `aecompress sweep`.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="HTML file. \\[default: report.html in the folder]",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a report of a run or a study: one HTML file, and each figure as SVG and PNG.

    stdout gets one line per file: kind, path, bytes.
    """
    with reported():
        from aecompress.study.report import write

        files = write(where, output)
        if json:
            emit_json({"files": [{"kind": k, "path": str(p), "bytes": p.stat().st_size} for k, p in files]})
            return
        emit_table([(kind, path, path.stat().st_size) for kind, path in files], left=2)
