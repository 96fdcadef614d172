"""``aecompress verify``: is this ONNX file that model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import emit_json, note, reported
from aecompress.cli.options import Json
from aecompress.cli.tables import emit_table


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="Any ONNX file.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder or a model folder.")],
    rows: Annotated[
        str | None, typer.Option(metavar="FILE[:key]", help="Raw rows to compare on. \\[default: the folder's own]")
    ] = None,
    columns: Annotated[
        str, typer.Option(metavar="A,B,...", help="Columns of CSV rows, by name or number: a,b or 0,3-5.")
    ] = "",
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", min=0, help="Largest allowed difference. \\[default: that of the run]", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare an ONNX file with a model folder in onnxruntime; exit 3 when they differ."""
    with reported():
        from aecompress.deploy.checkpoint import model_folder
        from aecompress.deploy.verify import verify_against
        from aecompress.errors import DamagedError, VerifyError
        from aecompress.runs.again import rows_for_model

        model = model_folder(folder)
        try:
            given = None if rows is None else rows_for_model(rows, model, columns, note)
            result = verify_against(file, model, given, tolerance)
        except DamagedError as fault:
            raise VerifyError(str(fault)) from fault
        if json:
            emit_json(result.to_json())
        else:
            emit_table([("passed" if one.passed else "FAILED", one.name, one.detail) for one in result.checks], left=3)
        if not result.passed:
            raise VerifyError(f"{file}: is not the model in {folder}: {result.first_failure}")
