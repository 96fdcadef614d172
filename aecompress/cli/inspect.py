"""``aecompress inspect``: what is in a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import emit_json, note, reported
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
        takes = model.about.get("rows")
        if json:
            sizes = {"parameters": model.parameters, "zeros": model.zeros, "sparsity": model.sparsity}
            about = {key: model.about.get(key) for key in ("inputs", "thresholds")}
            emit_json(sizes | {"layers": table, "rows": takes, "scaling": model.scaling["kind"]} | about)
            return
        layers = [[f"{value:.4f}" if isinstance(value, float) else value for value in row.values()] for row in table]
        total = ("total", "", "", "", model.parameters, model.zeros, f"{model.sparsity:.4f}", "", "")
        emit_table([list(table[0]), *layers, total])
        if takes == "scaled":
            note("The ONNX files take scaled rows, (raw - offset) / divisor of config.json; raw ones give junk.")
