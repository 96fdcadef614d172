"""``aecompress inspect``: what is in a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import emit_json, reported
from aecompress.cli.options import Json
from aecompress.cli.tables import emit_table


def inspect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder or a model folder.")],
    json: Json = False,
) -> None:
    """Show a model layer by layer: sizes, zeros, sparsity, inactive units."""
    with reported():
        from aecompress.deploy.checkpoint import load_model, model_folder
        from aecompress.deploy.inspection import describe
        from aecompress.runs import front

        model = load_model(model_folder(folder))
        front.check(folder)
        table = describe(model)
        if json:
            emit_json(
                {"parameters": model.parameters, "zeros": model.zeros, "sparsity": model.sparsity, "layers": table}
            )
            return
        layers = [[f"{value:.4f}" if isinstance(value, float) else value for value in row.values()] for row in table]
        total = ("total", "", "", "", model.parameters, model.zeros, f"{model.sparsity:.4f}", "", "")
        emit_table([list(table[0]), *layers, total])
