"""``aecompress inspect``: what is in a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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
        emit_table(*table_of(table, (model.parameters, model.zeros, f"{model.sparsity:.4f}")))
        if takes == "scaled":
            note("The ONNX files take scaled rows, (raw - offset) / divisor of config.json; raw ones give junk.")


def table_of(
    rows: list[dict[str, Any]], total: tuple[object, ...]
) -> tuple[list[Sequence[object]], int, Sequence[int]]:
    """Return layers as a table for people, how many of its columns are words, and those that can be spared.

    Dense layers have their sizes there, others their kinds and the shapes of what they give.

    Args:
        total: parameters, zeros and sparsity of the model.
    """
    dense = all(row["kind"] == "dense" for row in rows)
    left_out = ("kind", "shape") if dense else ("in", "out")
    head = [name for name in rows[0] if name not in left_out]
    layers = [[in_cell(row[name]) for name in head] for row in rows]
    words = head.index("parameters")
    return [head, *layers, ["total", *[""] * (words - 1), *total, "", ""]], 1 if dense else 2, () if dense else (4, 3)


def in_cell(value: Any) -> object:
    """Return a value as a cell shows it: a share with four decimals, a shape as 8x8x16."""
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else value
